/** Loans that are paid back in equal instalments. All amounts are in cents. */

export interface Loan {
  amount: number;
  ratePercent: number;
  months: number;
}

export interface Payment {
  month: number;
  interest: number;
  principal: number;
  balance: number;
}

export interface Plan {
  instalment: number;
  totalInterest: number;
  payments: Payment[];
}

/** The last payment takes what rounding left. */
export function repaymentPlan({ amount, ratePercent, months }: Loan): Plan {
  const rate = ratePercent / 100 / 12;
  const share = rate === 0 ? 1 / months : rate / (1 - (1 + rate) ** -months);
  const instalment = Math.round(amount * share);
  const payments: Payment[] = [];
  let balance = amount;
  let totalInterest = 0;
  for (let month = 1; month <= months; month++) {
    const interest = Math.round(balance * rate);
    const principal = month === months ? balance : Math.min(balance, instalment - interest);
    balance -= principal;
    totalInterest += interest;
    payments.push({ month, interest, principal, balance });
  }
  return { instalment, totalInterest, payments };
}
