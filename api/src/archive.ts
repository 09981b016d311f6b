/** A deployment as a tar archive: the files of a function, and how they run as mayfly.json at its root. */
import { posix } from 'node:path';
import { Readable } from 'node:stream';
import { decompress } from '@mayfly/image';
import {
  FILES_BYTES_MAX,
  FILES_MAX,
  FunctionManifest,
  type FunctionSettings,
} from '@mayfly/protocol/api';
import { Compile, clearestError } from '@mayfly/schema';
import type { Header } from 'tar-stream';
import { checkPath, fileAndFolder } from './deployment.js';
import { ApiError } from './errors.js';
import type { Deployment } from './registry.js';
import type { SourceFile } from './runtimes/runtime.js';
import { problemOf } from './validation.js';

const LINKS_MAX = 8;
const MANIFEST = 'mayfly.json';

const compileManifest = () => Compile(FunctionManifest);
let validator: ReturnType<typeof compileManifest> | undefined;

export const ARCHIVE_TYPES = ['application/x-tar', 'application/gzip', 'application/zstd'] as const;

/**
 * @param bytes a tar archive, plain or behind gzip or zstd, whatever its content type says
 * @throws ApiError MAYFLY_ARCHIVE_INVALID, MAYFLY_ARCHIVE_TOO_LARGE
 */
export async function deploymentFromArchive(bytes: Uint8Array): Promise<Deployment> {
  const files = await readFiles(bytes);
  const manifest = files.get(MANIFEST);
  if (!manifest) throw invalid(`there is no ${MANIFEST} at the root of the archive`);
  files.delete(MANIFEST);
  if (files.size === 0) throw invalid(`the archive has nothing but its ${MANIFEST}`);
  return { settings: parseManifest(manifest.bytes), files };
}

async function readFiles(bytes: Uint8Array): Promise<Map<string, SourceFile>> {
  const { extract } = await import('tar-stream'); // nothing but such a deployment needs it
  const archive = extract();
  const input = Readable.from(bounded(decompress(once(bytes))));
  input.on('error', (error) => archive.destroy(error));
  input.pipe(archive);
  const files = new Map<string, SourceFile>();
  const links = new Map<string, string>();
  let entries = 0;
  try {
    for await (const entry of archive) {
      if (++entries > FILES_MAX) throw tooLarge(`more than ${FILES_MAX} files`);
      await take(entry.header, entry as AsyncIterable<Uint8Array>, files, links);
      entry.resume();
    }
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw invalid(`the archive is damaged: ${(error as Error).message}`);
  } finally {
    input.destroy();
  }
  for (const [path, target] of links) files.set(path, followLink(path, target, files, links));
  const folder = fileAndFolder(files);
  if (folder !== undefined) throw invalid(`"${folder}" is a file and a folder`);
  return files;
}

async function take(
  header: Header,
  content: AsyncIterable<Uint8Array>,
  files: Map<string, SourceFile>,
  links: Map<string, string>,
): Promise<void> {
  const path = header.name.replace(/^(?:\.\/)+|\/+$/g, '');
  if (header.type === 'directory' && (path === '' || path === '.')) return;
  checkEntry(path, header.name);
  switch (header.type) {
    case 'file':
    case 'contiguous-file': {
      const parts: Uint8Array[] = [];
      for await (const part of content) parts.push(part);
      files.set(path, {
        bytes: Buffer.concat(parts),
        executable: ((header.mode ?? 0) & 0o111) !== 0,
      });
      return;
    }
    case 'symlink':
      links.set(path, posix.join(posix.dirname(path), header.linkname ?? ''));
      if (header.linkname?.startsWith('/')) throw leadsOut(path, header.linkname);
      return;
    case 'link':
      links.set(path, (header.linkname ?? '').replace(/^(?:\.\/)+/, ''));
      return;
    case 'directory':
      return;
    default:
      throw invalid(`"${path}" is a ${header.type ?? 'thing'}, which a function may not bring`);
  }
}

function checkEntry(path: string, name: string): void {
  try {
    checkPath(path);
  } catch {
    throw invalid(`${JSON.stringify(name.slice(0, 100))} leads out of the archive, or nowhere`);
  }
}

/** A link becomes a copy of the file that it leads to. */
function followLink(
  path: string,
  target: string,
  files: ReadonlyMap<string, SourceFile>,
  links: ReadonlyMap<string, string>,
): SourceFile {
  let at = target;
  for (let steps = 0; steps < LINKS_MAX; steps++) {
    if (at === '..' || at.startsWith('../') || at.startsWith('/')) throw leadsOut(path, target);
    const next = links.get(at);
    if (next === undefined) break;
    at = next;
  }
  const file = files.get(at);
  if (file) return file;
  throw invalid(
    `the link "${path}" leads to no file of the archive; make it with \`tar --dereference\``,
  );
}

function leadsOut(path: string, target: string): ApiError {
  return invalid(`the link "${path}" leads out of the archive, to "${target.slice(0, 100)}"`);
}

/** `bundle` is for who made the archive. */
function parseManifest(bytes: Uint8Array): FunctionSettings {
  let manifest: unknown;
  try {
    manifest = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw invalid(`${MANIFEST} is not JSON: ${(error as Error).message}`);
  }
  validator ??= compileManifest();
  if (validator.Check(manifest)) {
    const { bundle: _, ...settings } = manifest;
    return settings;
  }
  const error = clearestError(validator.Errors(manifest));
  throw invalid(`${MANIFEST}: ${error ? problemOf(error, 'manifest') : 'it is no manifest'}`);
}

/** A small archive can unpack to any size: counted before it is kept. */
async function* bounded(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > FILES_BYTES_MAX) throw tooLarge(`more than ${FILES_BYTES_MAX} bytes`);
    yield chunk;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function tooLarge(what: string): ApiError {
  return new ApiError('MAYFLY_ARCHIVE_TOO_LARGE', `the archive unpacks to ${what}`);
}

function invalid(message: string): ApiError {
  return new ApiError('MAYFLY_ARCHIVE_INVALID', message);
}
