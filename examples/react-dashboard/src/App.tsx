import { Books } from "./Books";
import { Connection } from "./Connection";
import { Feed } from "./Feed";
import { Metric } from "./Metric";

const whole = new Intl.NumberFormat("en");
const euros = new Intl.NumberFormat("en", { style: "currency", currency: "EUR", maximumFractionDigits: 0 });

export const App = () => (
  <>
    <header>
      <h1>Shop floor</h1>
      <Connection />
    </header>
    <main>
      <Metric name="revenue" title="Revenue" show={euros.format} />
      <Metric name="orders" title="Orders a minute" show={whole.format} />
      <Metric name="basket" title="Average order" show={euros.format} />
      <Metric name="visitors" title="Visitors" show={whole.format} />
      <Feed show={euros.format} />
      <Books />
    </main>
  </>
);
