import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { AptError } from './apt-error.ts'
import { runTool, ToolError } from './tool.ts'

/** Keys of the Debian archive, where Debian's keyring puts them; without it, apt's own trusted keys are used. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** A package as the signed index of the archive describes it. */
interface Package {
  readonly name: string
  readonly version: string
  readonly depends: string
  readonly sha256: string
  /** Its name in the folder it is fetched to. */
  readonly file: string
}

export interface AptOptions {
  /** The release: `bookworm`, `sid` ... */
  readonly suite: string
  /** As Debian calls it: `i386`, `amd64` ... */
  readonly architecture: string
  /** Address of the archive. @default the one of {@link debianSource} */
  readonly mirror?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** Part of a step that is done, 0 to 1. */
type OnPart = (part: number) => void

/**
 * apt of this machine with a state of its own: other lists, another cache, no installed packages. What the machine's
 * configuration says about proxies and credentials holds; its state is not touched, and no right of root is needed.
 *
 *     const apt = await Apt.open(folder, { suite: 'bookworm', architecture: 'i386', signal })
 *     await apt.update(onPart)
 *     const files = await apt.fetch(['busybox-static'], onPart)       // checked against the signed index
 */
export class Apt {
  private constructor(
    /** Holds the state and the fetched packages. */
    private readonly folder: string,
    private readonly architecture: string,
    /** Address of the archive. */
    private readonly source: string,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** @throws {AptError} where this machine's apt has no source of Debian packages */
  static async open(folder: string, { suite, architecture, mirror, signal }: AptOptions): Promise<Apt> {
    const source = await debianSource({ mirror, signal })
    const apt = new Apt(folder, architecture, source, signal)
    await mkdir(path.join(folder, 'lists/partial'), { recursive: true })
    await mkdir(path.join(folder, 'cache/archives/partial'), { recursive: true })
    await mkdir(path.join(folder, 'packages'), { recursive: true })
    await writeFile(path.join(folder, 'status'), '')
    const signedBy = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : ''
    await writeFile(path.join(folder, 'sources.list'), `deb ${signedBy}${source} ${suite} main\n`)
    await writeFile(path.join(folder, 'apt.conf'), configuration(folder, architecture))
    return apt
  }

  /** Fetches the archive's signed index. */
  async update(onPart: OnPart): Promise<void> {
    await this.#apt('apt-get', ['update'], onPart)
  }

  /** Names of the packages that a package asks for, in its order; of alternatives the first. */
  async dependenciesOf(name: string): Promise<string[]> {
    const [described] = await this.#describe([name])
    return [...(described?.depends ?? '').matchAll(/(?:^|, )([a-z0-9][a-z0-9+.-]+)/g)].map(
      ([, dependency]) => dependency,
    )
  }

  /** Names of the packages and of all they need, which would be installed on a machine that has none. */
  async withDependencies(names: readonly string[]): Promise<string[]> {
    const simulated = await this.#apt('apt-get', ['--simulate', '--no-install-recommends', 'install', ...names])
    return [...simulated.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name)
  }

  /** Fetches packages that are not there yet. @returns their files, by their names, checked */
  async fetch(names: readonly string[], onPart: OnPart): Promise<Map<string, string>> {
    const packages = await this.#describe(names)
    const missing = await this.#wrong(packages)
    if (missing.length > 0) {
      const wanted = missing.map(({ name, version }) => `${name}=${version}`)
      await this.#apt('apt-get', ['download', ...wanted], onPart)
      const wrong = await this.#wrong(missing)
      // apt takes a file of the right size for the right one, so that it would not be fetched again.
      for (const { file } of wrong) await rm(this.#path(file), { force: true })
      if (wrong.length > 0) {
        throw new AptError(
          `${wrong.map(({ name }) => name).join(', ')} did not arrive as the archive signed it`,
          'try again',
        )
      }
    }
    return new Map(packages.map(({ name, file }) => [name, this.#path(file)]))
  }

  /** Those packages that are not there as the index describes them. */
  async #wrong(packages: readonly Package[]): Promise<Package[]> {
    const wrong: Package[] = []
    for (const item of packages) {
      if ((await sha256Of(this.#path(item.file))) !== item.sha256) wrong.push(item)
      this.signal?.throwIfAborted()
    }
    return wrong
  }

  async #describe(names: readonly string[]): Promise<Package[]> {
    const wanted = names.map((name) => `${name}:${this.architecture}`)
    const text = await this.#apt('apt-cache', ['--no-all-versions', 'show', ...wanted])
    const described = new Map(text.split(/\n\n+/).map((stanza) => [fieldOf(stanza, 'Package'), stanza]))
    return names.map((name) => {
      const stanza = described.get(name) ?? ''
      const version = fieldOf(stanza, 'Version')
      const sha256 = fieldOf(stanza, 'SHA256')
      if (version === '' || !/^[0-9a-f]{64}$/.test(sha256)) {
        throw new AptError(`the archive does not say what ${name} is, with a version and a checksum`, 'report it')
      }
      const file = `${name}_${version.replaceAll(':', '%3a')}_${fieldOf(stanza, 'Architecture')}.deb`
      return { name, version, depends: fieldOf(stanza, 'Depends'), sha256, file }
    })
  }

  #path(file: string): string {
    return path.join(this.folder, 'packages', file)
  }

  async #apt(tool: 'apt-get' | 'apt-cache', args: readonly string[], onPart?: OnPart): Promise<string> {
    const configured = ['-c', path.join(this.folder, 'apt.conf'), ...args]
    return await runAptTool(tool, configured, this.source, {
      signal: this.signal,
      folder: path.join(this.folder, 'packages'),
      onStatus: (line) => {
        const percent = Number(/^dlstatus:[^:]*:([0-9.]+):/.exec(line)?.[1])
        if (percent >= 0) onPart?.(Math.min(percent / 100, 1))
      },
    })
  }
}

/** Names the archive for every command that fetches packages. */
const MIRROR_VARIABLE = 'OUTBOARD_DEBIAN_MIRROR'

/**
 * Address of the Debian archive: `mirror`, or else the one in OUTBOARD_DEBIAN_MIRROR, or else the one that apt of this machine uses.
 * @throws {AptError} if none of these names one
 */
export async function debianSource({ mirror, signal }: Pick<AptOptions, 'mirror' | 'signal'> = {}): Promise<string> {
  const format = '$(CREATED_BY) $(ORIGIN) $(LABEL) $(SITE)'
  const listed = await runAptTool('apt-get', ['indextargets', '--format', format], undefined, { signal })
  const named = mirror ?? process.env[MIRROR_VARIABLE] ?? ''
  if (named !== '') {
    if (!isMirror(named)) throw new AptError(`${named} is no address of a mirror`, `set ${MIRROR_VARIABLE} to a URL`)
    return named
  }
  for (const line of listed.split('\n')) {
    const [createdBy, ...rest] = line.split(' ')
    const site = rest.pop() ?? ''
    // Origin and label are not known where the machine has no lists: then the address has to tell.
    const isDebian = rest.join(' ') === 'Debian Debian' || (rest.includes('$(LABEL)') && /\/debian\/?$/.test(site))
    if (createdBy === 'Packages' && isDebian) return site
  }
  const keys = existsSync(KEYRING) ? '' : 'install the package debian-archive-keyring, and '
  throw new AptError(
    'apt on this machine has no source of Debian packages',
    `${keys}name a Debian mirror: --mirror URL or ${MIRROR_VARIABLE}=URL`,
  )
}

/** Whether it is a URL that a line of apt's sources can hold. */
export function isMirror(address: string): boolean {
  return /^[a-z][a-z0-9+.-]*:[!$-~]+$/i.test(address)
}

function fieldOf(stanza: string, key: string): string {
  return new RegExp(`^${key}: (.+)$`, 'm').exec(stanza)?.[1] ?? ''
}

/** @param source what it fetches from, if it fetches */
async function runAptTool(
  tool: string,
  args: readonly string[],
  source: string | undefined,
  options: Parameters<typeof runTool>[2],
): Promise<string> {
  try {
    return await runTool(tool, args, options)
  } catch (error) {
    if (!(error instanceof ToolError)) throw error
    if (error.missing) throw new AptError(`${error.message}, and it is apt that fetches Debian packages`, 'install apt')
    throw new AptError(error.message, remedyFor(error.message, source))
  }
}

function remedyFor(complaint: string, source: string | undefined): string {
  if (source === undefined) return 'check the configuration of apt'
  if (/NO_PUBKEY|is not signed|signatures? (couldn't|could not|were) /.test(complaint) && !existsSync(KEYRING)) {
    return 'install the package debian-archive-keyring, which has the keys of Debian'
  }
  // Without a password that it may hold.
  const shown = source.replace(/\/\/[^/]*@/, '//')
  return `check the network and ${shown}, or name another Debian mirror: --mirror URL or ${MIRROR_VARIABLE}=URL`
}

function configuration(folder: string, architecture: string): string {
  return `// apt with a state of its own: nothing of this machine's is read but its configuration, and nothing written.
Dir::State "${folder}";
Dir::State::lists "${folder}/lists";
Dir::State::status "${folder}/status";
Dir::Cache "${folder}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Etc::sourcelist "${folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "${architecture}";
#clear APT::Architectures;
APT::Architectures { "${architecture}"; };
// The user who runs this owns the folder; the one apt would change to could not enter it.
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Status-Fd "3";
Acquire::Languages "none";
Acquire::Retries "2";
#clear Acquire::IndexTargets::deb::Contents-deb;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::CNF;
// Commands that the machine has apt execute are about the machine's own state.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`
}

async function sha256Of(file: string): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk)
  } catch {
    return undefined
  }
  return hash.digest('hex')
}
