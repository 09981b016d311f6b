/** The golden checkpoints of the VMM's tests, `first` and its difference `second`, as an exported file. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../../../../vmm/test/checkpoint/golden', import.meta.url));

/** The newest. */
export const golden = join(folder, readdirSync(folder).sort().at(-1)!);
