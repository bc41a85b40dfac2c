import { type Metric as MetricValue, useValue } from "./source";

const NONE: MetricValue = { now: 0, history: [] };

interface Props {
  name: string;
  title: string;
  show: (value: number) => string;
}

/** A figure, and its last minute. */
export function Metric({ name, title, show }: Props) {
  const { now, history } = useValue<MetricValue>(`metrics/${name}`) ?? NONE;
  const before = history[0] ?? now;
  const change = now - before;
  return (
    <section className="card metric" id={name}>
      <h2>{title}</h2>
      <p className="figure">{history.length === 0 ? "–" : show(now)}</p>
      <p className="change" data-way={Math.sign(change)}>
        {change === 0 ? "no change" : `${change > 0 ? "▲" : "▼"} ${show(Math.abs(change))}`} in {history.length} s
      </p>
      <Curve points={history} />
    </section>
  );
}

const WIDTH = 240;
const HEIGHT = 56;
const EDGE = 4;

/** Points as a line over an area, the newest at the right edge. */
function Curve({ points }: { points: readonly number[] }) {
  if (points.length < 2) return <svg className="curve" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true" />;
  const low = Math.min(...points);
  const range = Math.max(...points) - low || 1;
  const line = points
    .map((point, at) => {
      const x = (at / (points.length - 1)) * WIDTH;
      const y = HEIGHT - EDGE - ((point - low) / range) * (HEIGHT - 2 * EDGE);
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    })
    .join(" L");
  return (
    <svg className="curve" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path className="area" d={`M${line} L${WIDTH},${HEIGHT} L0,${HEIGHT} Z`} />
      <path className="line" d={`M${line}`} />
    </svg>
  );
}
