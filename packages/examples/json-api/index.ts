/** A JSON API: repayment plans of loans. Hono routes, TypeBox checks what comes in. */
import { Hono } from 'hono';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { repaymentPlan } from './repayment.js';

const Loan = Type.Object(
  {
    /** In cents. */
    amount: Type.Integer({ minimum: 1, maximum: 1e12 }),
    /** Per year. */
    ratePercent: Type.Number({ minimum: 0, maximum: 100 }),
    months: Type.Integer({ minimum: 1, maximum: 600 }),
  },
  { additionalProperties: false },
);

const app = new Hono();

app.get('/', (c) => c.json({ routes: ['POST /loans/plan'] }));

app.post('/loans/plan', async (c) => {
  const loan: unknown = await c.req.json().catch(() => undefined);
  if (!Value.Check(Loan, loan)) {
    const errors = [...Value.Errors(Loan, loan)].map(({ instancePath, message }) => ({
      field: instancePath.slice(1),
      message,
    }));
    return c.json({ title: 'not a loan', errors }, 422);
  }
  return c.json(repaymentPlan(loan));
});

app.notFound((c) => c.json({ title: `there is no ${c.req.path}` }, 404));

export default app;
