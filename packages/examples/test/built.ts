/** Programs are built before they are deployed: C by gcc, text of WebAssembly by wabt. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import wabt from 'wabt';
import { folderOf, temporaryFolder } from './support.js';

/** The folder to deploy: the example's own, or a copy with what was built. */
export async function built(
  t: Parameters<typeof temporaryFolder>[0],
  name: string,
): Promise<string> {
  const [c, text] = [join(folderOf(name), `${name}.c`), join(folderOf(name), `${name}.wat`)];
  if (!existsSync(c) && !existsSync(text)) return folderOf(name);
  const folder = temporaryFolder(t);
  cpSync(folderOf(name), folder, { recursive: true });
  if (existsSync(c)) {
    const flags = ['-std=c17', '-O2', '-Wall', '-Wextra', '-Werror', '-static'];
    execFileSync('gcc', [...flags, '-o', join(folder, name), c, '-lm']);
  } else {
    const module = (await wabt()).parseWat(`${name}.wat`, readFileSync(text, 'utf8'));
    writeFileSync(join(folder, `${name}.wasm`), module.toBinary({}).buffer);
  }
  return folder;
}
