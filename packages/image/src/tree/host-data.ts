/**
 * What programs of the host read besides themselves and their libraries, as a table. A rule's paths are taken as far as the
 * host has them: what is missing here would be missing for the program here, too.
 */
import { readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { addFolder, type Owner } from './folder.js';
import type { HostRoot, HostWalk } from './host.js';
import { joinPath, partsOf } from './path.js';
import type { Entry, Tree } from './tree.js';

interface Rule {
  /** Guest paths of programs and libraries for which this is; without it, the rule is for every tree. */
  for?: RegExp;
  /** Files and folders; $1 is what the first group matched, * stands for any part of one name. */
  bring: string[];
  /** Guest paths that are left out: large, and of use only to who builds or tests the interpreter itself. */
  except?: RegExp;
}

const ZONES = ['/usr/share/zoneinfo'];

const RULES: Rule[] = [
  {
    bring: [
      '/etc/ld.so.cache',
      '/etc/localtime',
      '/etc/mime.types',
      '/etc/protocols',
      '/etc/services',
      '/etc/ssl/openssl.cnf',
    ],
  },
  // glibc opens these by name at run time: name services, and the unwinder that pthread_cancel uses.
  {
    for: /^(.*)\/libc\.so\.6$/,
    bring: [
      '$1/libnss_files.so.2',
      '$1/libnss_dns.so.2',
      '$1/libresolv.so.2',
      '$1/libgcc_s.so.1',
      '/usr/lib/locale/C.utf8',
    ],
  },
  { for: /\/lib(ssl|gnutls)\.so/, bring: ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls'] },
  { for: /^(.*)\/libcrypto\.so\.3$/, bring: ['$1/ossl-modules', '/usr/lib/ssl/openssl.cnf'] },
  { for: /\/lib(tinfo|ncurses)w?\.so/, bring: ['/lib/terminfo', '/usr/share/terminfo'] },
  { for: /\/libmagic\.so/, bring: ['/etc/magic*', '/usr/share/misc/magic*', '/usr/lib/file'] },
  {
    for: /\/libfontconfig\.so/,
    bring: ['/etc/fonts', '/usr/share/fontconfig', '/usr/share/fonts'],
  },
  {
    for: /^(.*)\/libMagickCore-6/,
    bring: ['/etc/ImageMagick-6', '/usr/share/ImageMagick-6', '$1/ImageMagick-6*'],
  },
  // An interpreter's own files lie where its prefix is; a distribution's prefix is /usr. Others have it as a library.
  {
    for: /^(.*)\/(?:bin\/python(?=3)|lib\/(?:[^/]+-linux-gnu\/)?libpython3\.)/,
    bring: [
      '$1/lib/python3.*',
      '$1/lib64/python3.*',
      '$1/pyvenv.cfg',
      '/etc/python3*',
      '/usr/share/python-wheels',
      ...ZONES,
    ],
    except: /\/python3\.\d+\/(test|idlelib|config-[^/]*)$|\/lib2to3\/tests$/,
  },
  {
    for: /^\/usr\/bin\/python3/,
    bring: ['/usr/lib/python3', '/usr/local/lib/python3*'],
  },
  // A virtual environment's program is a link named in many ways; its packages are beside it.
  { for: /^(.*)\/bin\/python$/, bring: ['$1/pyvenv.cfg', '$1/lib/python3.*'] },
  {
    for: /^(.*)\/bin\/perl[^/]*$/,
    bring: [
      '/etc/perl',
      '$1/share/perl*',
      '$1/lib/perl*',
      '$1/lib/x86_64-linux-gnu/perl*',
      ...ZONES,
    ],
  },
  {
    for: /^(.*)\/bin\/ruby[^/]*$/,
    bring: [
      '$1/lib/ruby',
      '$1/share/ruby*',
      '$1/lib/x86_64-linux-gnu/ruby',
      '/var/lib/gems',
      ...ZONES,
    ],
  },
  { for: /^(.*)\/bin\/php[^/]*$/, bring: ['/etc/php*', '$1/lib/php', '$1/share/php', ...ZONES] },
  { for: /^(.*)\/bin\/pypy3[^/]*$/, bring: ['$1/lib/pypy3*', ...ZONES] },
  {
    for: /^(.*)\/bin\/lua[^/]*$/,
    bring: ['$1/share/lua', '$1/share/luajit*', '$1/lib/x86_64-linux-gnu/lua'],
  },
  { for: /^(.*)\/bin\/tclsh[^/]*$/, bring: ['$1/share/tcltk', '$1/lib/tcltk', ...ZONES] },
  {
    for: /^(.*)\/bin\/guile[^/]*$/,
    bring: [
      '$1/share/guile',
      '$1/lib/x86_64-linux-gnu/guile',
      '$1/lib/x86_64-linux-gnu/gconv', // its ports convert from and to any encoding
    ],
  },
  { for: /^(.*)\/bin\/racket$/, bring: ['/etc/racket', '$1/share/racket', '$1/lib/racket'] },
  { for: /^(.*)\/bin\/sbcl$/, bring: ['$1/lib/sbcl'] },
  { for: /^(.*)\/bin\/(chezscheme|scheme|petite)[^/]*$/, bring: ['$1/lib/csv*'] },
  { for: /^(.*)\/lib\/swi-prolog\/bin\//, bring: ['$1/lib/swi-prolog'] },
  { for: /^(.*)\/bin\/ocamlrun$/, bring: ['$1/lib/ocaml/ld.conf', '$1/lib/ocaml/stublibs'] },
  {
    for: /^(.*)\/bin\/ocaml$/,
    bring: ['cma', 'cmi', 'cmo'].map((end) => `$1/lib/ocaml/*.${end}`),
  },
  { for: /^(.*\/lib\/R)\/bin\/exec\/R$/, bring: ['$1', '/etc/R', '/usr/share/R', ...ZONES] },
  {
    for: /^(.*)\/bin\/octave[^/]*$/,
    bring: ['$1/share/octave', '$1/lib/x86_64-linux-gnu/octave'],
  },
  { for: /^(.*)\/bin\/julia$/, bring: ['/share', '/lib', '/etc'].map((dir) => `$1${dir}/julia`) },
  {
    for: /\/libgs\.so/,
    bring: ['/usr/share/ghostscript', '/usr/share/color/icc/ghostscript', '/var/lib/ghostscript'],
  },
  {
    for: /^(.*\/lib\/postgresql\/\d+)\/bin\//,
    bring: ['$1/lib', '/usr/share/postgresql', ...ZONES],
  },
  { for: /^(.*\/dotnet)\/dotnet$/, bring: ['$1'] },
  { for: /^(.*)\/bin\/(gawk|awk)$/, bring: ['$1/share/awk', '$1/lib/x86_64-linux-gnu/gawk'] },
  { for: /^(.*)\/bin\/vim[^/]*$/, bring: ['/etc/vim', '$1/share/vim'] },
  { for: /^(.*)\/bin\/git$/, bring: ['/etc/gitconfig', '$1/share/git-core'] },
  { for: /^(.*)\/bin\/(iconv|msgfmt)$/, bring: ['$1/lib/x86_64-linux-gnu/gconv'] },
  { for: /^(.*)\/bin\/(date|sqlite3|psql)$/, bring: ZONES },
  // A JDK is one folder, and so is a package of Node.js.
  {
    for: /^(.*\/jvm\/[^/]+)\/(jre\/)?bin\/[^/]+$/,
    bring: ['$1', '/etc/java*', '/etc/ssl/certs/java'],
  },
  { for: /^(.*\/node_modules\/(@[^/]+\/)?[^/@][^/]*)\//, bring: ['$1'] },
];

/** Data may bring libraries that other rules are for; none of them leads further than this. */
const ROUNDS_MAX = 3;

type Skip = (path: string) => boolean;

/** Adds what the table has for the programs and libraries of a tree, but no `without`. What the tree has already stays. */
export async function addHostData(
  tree: Tree,
  host: HostRoot,
  owner: Owner,
  without?: RegExp,
): Promise<void> {
  const seen = new Set<string>();
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const paths = [...tree.entries()].filter(isCode).map(({ path }) => path);
    const fresh = paths.filter((path) => !seen.has(path));
    if (round > 0 && fresh.length === 0) return;
    for (const path of fresh) seen.add(path);
    for (const rule of RULES) {
      const skip = (path: string) => rule.except?.test(path) || without?.test(path) || false;
      for (const place of placesOf(rule, fresh, round)) await bring(tree, host, owner, skip, place);
    }
  }
}

function isCode(entry: Entry): boolean {
  return (
    entry.type === 'symlink' ||
    (entry.type === 'file' && (entry.mode & 0o111) !== 0) ||
    isModule(entry)
  );
}

/** Libraries need no permission to be executed. */
export function isModule({ type, path }: Entry): boolean {
  return type === 'file' && /\.so(\.[\d.]+)?$/.test(path);
}

function placesOf(rule: Rule, paths: string[], round: number): Set<string> {
  if (rule.for === undefined) return new Set(round === 0 ? rule.bring : []);
  const places = new Set<string>();
  for (const path of paths) {
    const match = rule.for.exec(path);
    if (match === null) continue;
    for (const pattern of rule.bring) places.add(pattern.replace('$1', () => match[1] ?? ''));
  }
  return places;
}

async function bring(tree: Tree, host: HostRoot, owner: Owner, skip: Skip, place: string) {
  for (const path of expand(host, place)) {
    const walk = host.walk(path);
    if (walk === undefined || skip(walk.realPath)) continue;
    if (walk.stat.isFile() || walk.stat.isDirectory()) await addWalk(tree, host, owner, skip, walk);
  }
}

async function addWalk(tree: Tree, host: HostRoot, owner: Owner, skipped: Skip, walk: HostWalk) {
  const known = tree.get(walk.realPath);
  host.addTo(tree, walk);
  if (!walk.stat.isDirectory() || (known !== undefined && known.type !== 'dir')) return;
  const skip = (path: string) => skipped(path) || isKept(tree, path);
  const { sightings } = host;
  await addFolder(tree, walk.hostPath, { at: walk.realPath, owner, skip, sightings });
}

function isKept(tree: Tree, path: string): boolean {
  const entry = tree.get(path);
  return entry !== undefined && entry.type !== 'dir';
}

/** The host's paths that a pattern with * stands for; one without * stands for itself. */
function expand(host: HostRoot, pattern: string): string[] {
  let paths = ['/'];
  for (const part of partsOf(pattern)) {
    paths = part.includes('*')
      ? paths.flatMap((dir) => namesLike(host, dir, part).map((name) => joinPath(dir, name)))
      : paths.map((dir) => posix.join(dir, part));
  }
  return paths;
}

function namesLike(host: HostRoot, dir: string, pattern: string): string[] {
  const walk = host.walk(dir);
  if (!walk?.stat.isDirectory()) return [];
  const [start = '', end = ''] = pattern.split('*');
  host.sightings.addNames(walk.hostPath, walk.stat);
  return readdirSync(walk.hostPath)
    .filter(
      (name) => name.startsWith(start) && name.endsWith(end) && name.length >= pattern.length - 1,
    )
    .sort();
}
