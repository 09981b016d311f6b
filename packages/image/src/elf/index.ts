/** ELF files, for those who read no images: the rest of this package takes long to load. */
export { type Elf, type ProgramHeader, parseElf, parseElfFile } from './parser.js';
export { readSection } from './sections.js';
export {
  type ElfSymbol,
  readSymbols,
  type SymbolisedAddress,
  symbolise,
} from './symbols.js';
