/** Checkpoints as a tree: each knows its parent. */
import type { Manifest } from './manifest.js';

export interface TreeNode {
  manifest: Manifest;
  children: TreeNode[];
}

/** Roots, each with what was taken from it, by time. A checkpoint whose parent is lost counts as a root. */
export function treeOf(manifests: readonly Manifest[]): TreeNode[] {
  const byTime = [...manifests].sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  const nodes = new Map(byTime.map((m) => [m.id, { manifest: m, children: [] as TreeNode[] }]));
  const roots: TreeNode[] = [];
  for (const node of nodes.values()) {
    const parent = node.manifest.parent === undefined ? undefined : nodes.get(node.manifest.parent);
    (parent?.children ?? roots).push(node);
  }
  return roots;
}
