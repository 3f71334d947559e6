/** For the page's viewers, who know a machine and none of its devices. */
export { Damage } from '../devices/gpu/damage.ts'
