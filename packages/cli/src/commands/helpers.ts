/** mayfly helpers: what programs in a guest import or include. */
import { copyFile, mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { helperPaths } from '@mayfly/guest-agent';
import { MayflyError } from '@mayfly/protocol';
import type { Command } from 'commander';
import { examples } from '../examples.js';
import { type Io, printJson } from '../output.js';

export function addHelpers(program: Command, io: Io): void {
  examples(program.command('helpers'), 'mayfly helpers ./lib')
    .description(
      'Copy the helpers for programs that ask for a checkpoint: Node.js, Python, C and C++.',
    )
    .argument('<dir>', 'folder to copy them to; older copies there are replaced')
    .option('--json', 'print JSON')
    .addHelpText('after', '\ndocs/clones.md shows how each is used.')
    .action(async (dir: string, { json }: { json?: boolean }) => {
      const files = await copyHelpers(dir);
      if (json) printJson(io, { files });
      else io.stdout(files.map((file) => `${file}\n`).join(''));
    });
}

async function copyHelpers(dir: string): Promise<string[]> {
  try {
    await mkdir(dir, { recursive: true });
    return await Promise.all(
      Object.values(helperPaths).map(async (from) => {
        const to = join(dir, basename(from));
        await copyFile(from, to);
        return to;
      }),
    );
  } catch (error) {
    throw new MayflyError('MAYFLY_HELPERS', `cannot copy: ${(error as Error).message}`);
  }
}
