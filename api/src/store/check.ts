/**
 * Reads everything that is in a database, for Database.open(): a program of its own, since LMDB follows the offsets of
 * a damaged file wherever they lead. Argument: the file. Ends with an exit code or a signal that is not 0 if it is damaged.
 */
import { open } from 'lmdb';
import { TABLE_OPTIONS } from './database.js';

const [path = ''] = process.argv.slice(2);
const root = open({ path, readOnly: true, maxDbs: 16 });
const names = [...root.getKeys()].map(String).filter((name) => name !== 'format');
// Opening one ends the reads that are under way.
const tables = names.map((name) => root.openDB(name, TABLE_OPTIONS));
for (const table of tables) {
  for (const { value } of table.getRange()) if (value === undefined) process.exit(1);
}
