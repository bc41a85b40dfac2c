// This machine's figures, with a minute of each as a curve.

import { find, framed, make, size } from "./dom.js";

const CURVE_MS = 60_000;
const SVG = "http://www.w3.org/2000/svg";

export function showMachine(source) {
  const curves = {
    cpu: curve(find("cpu"), 1),
    memory: curve(find("memory"), 1),
    network: curve(find("network"), 2),
    load: curve(find("load"), 1),
  };
  let samples = [];

  const draw = framed(() => {
    const newest = samples.at(-1);
    samples = samples.filter((sample) => sample.at > newest.at - CURVE_MS - 2000);
    figure("cpu", `${newest.cpu.toFixed(0)}`, "%");
    drawCores(newest.cores);
    figure("memory", `${newest.memory_percent.toFixed(0)}`, `%  ${size(newest.memory_used)} of ${size(newest.memory_total)}`);
    figure("network", `↓ ${size(newest.received_rate)}/s`, `↑ ${size(newest.sent_rate)}/s`);
    figure("load", newest.load[0].toFixed(2), newest.load.slice(1).map((load) => load.toFixed(2)).join("  "));
    const of = (read) => samples.map((sample) => [sample.at, read(sample)]);
    curves.cpu(newest.at, 100, of((sample) => sample.cpu));
    curves.memory(newest.at, 100, of((sample) => sample.memory_percent));
    const rates = [of((sample) => sample.received_rate), of((sample) => sample.sent_rate)];
    curves.network(newest.at, top(rates.flat(), 1024), ...rates);
    const loads = of((sample) => sample.load[0]);
    curves.load(newest.at, top(loads, newest.cores.length), loads);
  });

  source.on("machine", ({ data }) => {
    samples.push(data);
    draw();
  });
}

const top = (points, least) => 1.15 * points.reduce((most, [, value]) => Math.max(most, value), least);

function figure(id, big, small) {
  find(id).querySelector(".figure").replaceChildren(make("b", "", big), make("span", "", small));
}

function drawCores(cores) {
  const place = find("cpu").querySelector(".cores");
  while (place.children.length < cores.length) place.append(make("i"));
  cores.forEach((load, index) => place.children[index].style.setProperty("--load", load / 100));
  place.setAttribute("aria-label", cores.map((load, index) => `core ${index + 1}: ${load.toFixed(0)} %`).join(", "));
}

/** A drawing function (now, top, ...series of [at, value]) for a curve at the foot of `tile`. */
function curve(tile, count) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "curve");
  svg.setAttribute("viewBox", "0 0 300 48");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const paths = Array.from({ length: count }, (_, index) => {
    const area = document.createElementNS(SVG, "path");
    area.setAttribute("class", `area series-${index}`);
    const stroke = document.createElementNS(SVG, "path");
    stroke.setAttribute("class", `stroke series-${index}`);
    svg.append(area, stroke);
    return { area, stroke };
  });
  tile.append(svg);
  return (now, most, ...series) => {
    series.forEach((points, index) => {
      const x = (at) => (300 * (1 - (now - at) / CURVE_MS)).toFixed(1);
      const y = (value) => (46 - (44 * Math.min(value, most)) / most).toFixed(1);
      const runs = unbroken(points);
      const stroke = runs.map((run) => "M" + run.map(([at, value]) => `${x(at)} ${y(value)}`).join("L"));
      const area = runs.map((run, number) => `${stroke[number]}L${x(run.at(-1)[0])} 48L${x(run[0][0])} 48Z`);
      paths[index].stroke.setAttribute("d", stroke.join(""));
      paths[index].area.setAttribute("d", area.join(""));
    });
  };
}

/** Cut a series where nobody looked, so that no line is drawn over time that was not measured. */
function unbroken(points) {
  const runs = [];
  points.forEach((point, index) => {
    if (index === 0 || point[0] - points[index - 1][0] > 3500) runs.push([]);
    runs.at(-1).push(point);
  });
  return runs;
}
