import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { AptError } from './apt-error.ts'
import { runTool, ToolError } from './tool.ts'

/** Keys of the Debian archive in Debian's keyring. If the file is missing, apt's own trusted keys are used. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** Package as described by the archive's signed index. */
interface Package {
  readonly name: string
  readonly version: string
  readonly depends: string
  readonly sha256: string
  /** Name of its downloaded file. */
  readonly file: string
}

export interface AptOptions {
  /** Debian release: `bookworm`, `sid` ... */
  readonly suite: string
  /** Debian's name of the architecture: `i386`, `amd64` ... */
  readonly architecture: string
  /** Address of the archive. @default the one of {@link debianSource} */
  readonly mirror?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** Called with the completed part of a step, 0 to 1. */
type OnPart = (part: number) => void

/**
 * The host's apt with a separate state: its own lists and cache, and no installed packages. The host's configuration of
 * proxies and credentials applies. The host's state is not changed, and no root is needed.
 *
 *     const apt = await Apt.open(folder, { suite: 'bookworm', architecture: 'i386', signal })
 *     await apt.update(onPart)
 *     const files = await apt.fetch(['busybox-static'], onPart)       // checked against the signed index
 */
export class Apt {
  private constructor(
    /** Folder of the state and the downloaded packages. */
    private readonly folder: string,
    private readonly architecture: string,
    /** Address of the archive. */
    private readonly source: string,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Opens a state in a folder. @throws {AptError} if there is no source of Debian packages */
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

  /** Returns the direct dependencies of a package, in order; the first one of alternatives. */
  async dependenciesOf(name: string): Promise<string[]> {
    const [described] = await this.#describe([name])
    return [...(described?.depends ?? '').matchAll(/(?:^|, )([a-z0-9][a-z0-9+.-]+)/g)].map(
      ([, dependency]) => dependency,
    )
  }

  /** Returns the packages and all their dependencies, as for a system without packages. */
  async withDependencies(names: readonly string[]): Promise<string[]> {
    const simulated = await this.#apt('apt-get', ['--simulate', '--no-install-recommends', 'install', ...names])
    return [...simulated.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name)
  }

  /** Downloads packages that are missing or damaged. @returns their verified files by package name */
  async fetch(names: readonly string[], onPart: OnPart): Promise<Map<string, string>> {
    const packages = await this.#describe(names)
    const missing = await this.#invalid(packages)
    if (missing.length > 0) {
      const wanted = missing.map(({ name, version }) => `${name}=${version}`)
      await this.#apt('apt-get', ['download', ...wanted], onPart)
      const invalid = await this.#invalid(missing)
      // apt accepts a file of the right size without a check, and would never download it again.
      for (const { file } of invalid) await rm(this.#path(file), { force: true })
      if (invalid.length > 0) {
        throw new AptError(
          `${invalid.map(({ name }) => name).join(', ')} failed verification by the archive's checksums`,
          'try again',
        )
      }
    }
    return new Map(packages.map(({ name, file }) => [name, this.#path(file)]))
  }

  /** Returns the packages whose file is missing or does not match the index. */
  async #invalid(packages: readonly Package[]): Promise<Package[]> {
    const invalid: Package[] = []
    for (const item of packages) {
      if ((await sha256Of(this.#path(item.file))) !== item.sha256) invalid.push(item)
      this.signal?.throwIfAborted()
    }
    return invalid
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
        throw new AptError(`the archive's index has no version and checksum of ${name}`, 'report this as a bug')
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

/** Environment variable with the archive's address, for all commands that fetch packages. */
const MIRROR_VARIABLE = 'OUTBOARD_DEBIAN_MIRROR'

/**
 * Returns the address of the Debian archive: `mirror`, or else OUTBOARD_DEBIAN_MIRROR, or else the one in the host's
 * apt sources.
 * @throws {AptError} if none is set
 */
export async function debianSource({ mirror, signal }: Pick<AptOptions, 'mirror' | 'signal'> = {}): Promise<string> {
  const format = '$(CREATED_BY) $(ORIGIN) $(LABEL) $(SITE)'
  const listed = await runAptTool('apt-get', ['indextargets', '--format', format], undefined, { signal })
  const named = mirror ?? process.env[MIRROR_VARIABLE] ?? ''
  if (named !== '') {
    if (!isMirror(named))
      throw new AptError(`${named} is not the address of a mirror`, `set ${MIRROR_VARIABLE} to a URL`)
    return named
  }
  for (const line of listed.split('\n')) {
    const [createdBy, ...rest] = line.split(' ')
    const site = rest.pop() ?? ''
    // If the host has no lists, origin and label are unknown, and only the address identifies Debian.
    const isDebian = rest.join(' ') === 'Debian Debian' || (rest.includes('$(LABEL)') && /\/debian\/?$/.test(site))
    if (createdBy === 'Packages' && isDebian) return site
  }
  const keys = existsSync(KEYRING) ? '' : 'install the package debian-archive-keyring, and '
  throw new AptError(
    'apt on this machine has no source of Debian packages',
    `${keys}name a Debian mirror: --mirror URL or ${MIRROR_VARIABLE}=URL`,
  )
}

/** True if an address is a URL that fits into a line of apt's sources. */
export function isMirror(address: string): boolean {
  return /^[a-z][a-z0-9+.-]*:[!$-~]+$/i.test(address)
}

function fieldOf(stanza: string, key: string): string {
  return new RegExp(`^${key}: (.+)$`, 'm').exec(stanza)?.[1] ?? ''
}

/** Runs a tool of apt. @param source archive that it fetches from; undefined if it does not fetch */
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
    if (error.missing) throw new AptError(`${error.message}, and it is needed to fetch Debian packages`, 'install apt')
    throw new AptError(error.message, remedyFor(error.message, source))
  }
}

function remedyFor(complaint: string, source: string | undefined): string {
  if (source === undefined) return 'check the configuration of apt'
  if (/NO_PUBKEY|is not signed|signatures? (couldn't|could not|were) /.test(complaint) && !existsSync(KEYRING)) {
    return 'install the package debian-archive-keyring, which has the keys of Debian'
  }
  // Removes a password from the address.
  const shown = source.replace(/\/\/[^/]*@/, '//')
  return `check the network and ${shown}, or name another Debian mirror: --mirror URL or ${MIRROR_VARIABLE}=URL`
}

function configuration(folder: string, architecture: string): string {
  return `// apt with a separate state: of the host, only its configuration is read, and nothing is written.
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
// The folder belongs to the current user: apt's sandbox user has no access to it.
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
// Hooks that the host configured concern the host's own state.
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
