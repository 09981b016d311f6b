/** What a checkpoint needs of the host and of this build, and what of it is not there. */
import { abi, MayflyError } from '@mayfly/protocol';
import { type CpuDescription, missingFeatures } from './cpu.js';
import { type Manifest, STATE_VERSION } from './manifest.js';

export interface Unmet {
  /** One line each: 'guest kernel ABI 9 (this VMM speaks 7)'. */
  versions: string[];
  /** As /proc/cpuinfo names them. */
  cpuFeatures: string[];
}

export function unmetBy(manifest: Manifest, host: CpuDescription): Unmet {
  const versions: string[] = [];
  const want = (what: string, wanted: number, here: number) => {
    if (wanted !== here) versions.push(`${what} ${wanted} (this VMM has ${here})`);
  };
  want('guest kernel ABI', manifest.abi, abi.ABI_VERSION);
  want('state version', manifest.state.version, STATE_VERSION);
  return { versions, cpuFeatures: missingFeatures(manifest.cpu, host) };
}

/** A line for people, or undefined when nothing is missing. */
export function unmetText(
  { versions, cpuFeatures }: Unmet,
  manifest: Manifest,
): string | undefined {
  const all = [...versions];
  if (all.length > 0 && manifest.mayfly)
    all.push(`${all.pop()}; Mayfly ${manifest.mayfly} took it`);
  if (cpuFeatures.length > 0) {
    all.push(`CPU features ${cpuFeatures.join(', ')} (it was taken on ${manifest.cpu.model})`);
  }
  return all.length === 0 ? undefined : all.join('; ');
}

/** Throws MAYFLY_CHECKPOINT_VERSION or, when only the processor is in the way, MAYFLY_CHECKPOINT_CPU, with the whole list. */
export function checkRunsHere(manifest: Manifest, host: CpuDescription): void {
  const unmet = unmetBy(manifest, host);
  const text = unmetText(unmet, manifest);
  if (text === undefined) return;
  const code = unmet.versions.length > 0 ? 'MAYFLY_CHECKPOINT_VERSION' : 'MAYFLY_CHECKPOINT_CPU';
  throw new MayflyError(code, `checkpoint ${manifest.name} cannot run here, it needs: ${text}`);
}
