/** A report of sales: CSV with region, product, quantity and price in, CSV with the totals of each region out. */
import { CsvError, parse } from 'csv-parse/sync';
import { stringify } from 'csv-stringify/sync';

interface HttpEvent {
  body: string;
}

interface HttpResult {
  statusCode: number;
  headers: Record<string, string>;
  body: string;
}

interface Totals {
  sales: number;
  quantity: number;
  /** In cents, since sums of fractions are not exact. */
  revenue: number;
  products: Map<string, number>;
}

class RowError extends Error {}

export function handler({ body }: HttpEvent): HttpResult {
  try {
    const rows = parse(body, { columns: true, bom: true, trim: true, skip_empty_lines: true });
    const report = stringify(reportRows(totalsOf(rows as Record<string, string>[])), {
      header: true,
    });
    const headers = {
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': 'attachment; filename="report.csv"',
    };
    return { statusCode: 200, headers, body: report };
  } catch (error) {
    if (!(error instanceof CsvError || error instanceof RowError)) throw error;
    return {
      statusCode: 422,
      headers: { 'content-type': 'text/plain' },
      body: `${error.message}\n`,
    };
  }
}

function totalsOf(rows: Record<string, string>[]): Map<string, Totals> {
  const regions = new Map<string, Totals>();
  for (const [index, row] of rows.entries()) {
    const { region, product } = row;
    if (!region || !product) throw new RowError(`row ${index + 1}: no region or no product`);
    const quantity = numberOf(row, 'quantity', index);
    const revenue = Math.round(quantity * numberOf(row, 'price', index) * 100);
    const totals = regions.get(region) ?? {
      sales: 0,
      quantity: 0,
      revenue: 0,
      products: new Map(),
    };
    totals.sales++;
    totals.quantity += quantity;
    totals.revenue += revenue;
    totals.products.set(product, (totals.products.get(product) ?? 0) + revenue);
    regions.set(region, totals);
  }
  return regions;
}

function numberOf(row: Record<string, string>, column: string, index: number): number {
  const text = row[column] ?? '';
  if (text === '' || !Number.isFinite(Number(text))) {
    throw new RowError(`row ${index + 1}: ${column} is "${text}", which is no number`);
  }
  return Number(text);
}

/** The region that sold most comes first. */
function reportRows(regions: Map<string, Totals>) {
  return [...regions]
    .sort(([, a], [, b]) => b.revenue - a.revenue)
    .map(([region, { sales, quantity, revenue, products }]) => ({
      region,
      sales,
      quantity,
      revenue: (revenue / 100).toFixed(2),
      best: [...products].reduce((a, b) => (b[1] > a[1] ? b : a))[0],
    }));
}
