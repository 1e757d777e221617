// Draws each table of numbers by night that stands in a figure, in the colours of the page.
(() => {
  const HEIGHT = 260;
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 5], [14, 4]];
  const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
  const day = uPlot.fmtDate("{D} {MMM}");
  const counted = (number) => (number == null ? "–" : number.toLocaleString("en"));

  function read(table) {
    const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
    const rows = [...table.tBodies[0].rows];
    const numbers = names.map((_, place) => rows.map((row) => Number(row.cells[place + 1].dataset.number)));
    return { names, data: [rows.map((row) => Number(row.dataset.at)), ...numbers] };
  }

  function draw(figure) {
    const place = figure.firstElementChild;
    const { names, data } = read(figure.querySelector("table"));
    const color = (name) => getComputedStyle(figure).getPropertyValue(name).trim();
    const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
    const series = names.map((label, at) => ({
      label,
      stroke: color(`--plot-${at + 1}`),
      dash: DASHES[at],
      width: 2,
      points: { show: data[0].length < 20, size: 6 },
      value: (_, number) => counted(number),
    }));
    return new uPlot({
      width: place.clientWidth,
      height: HEIGHT,
      hooks: { ready: [(plot) => plot.setLegend({ idx: data[0].length - 1 })] },
      tzDate: utc,
      scales: { y: { range: (_, least, most) => [0, Math.max(1, most * 1.08)] } },
      axes: [
        { ...axis, space: 70, incrs: [1, 2, 7, 14, 28].map((days) => days * 86400), values: (_, ticks) => ticks.map((tick) => day(utc(tick))) },
        { ...axis, incrs: [1, 2, 5].flatMap((step) => [...Array(8).keys()].map((zeros) => step * 10 ** zeros)).sort((a, b) => a - b),
          values: (_, ticks) => ticks.map(counted),
          size: (_, ticks) => 18 + 8 * Math.max(1, ...(ticks ?? []).map((tick) => tick.length)) },
      ],
      series: [{ label: figure.querySelector("thead th").textContent, value: "{DD} {MMM} {YYYY}" }, ...series],
    }, data, place);
  }

  for (const figure of document.querySelectorAll("figure.plot")) {
    if (figure.querySelectorAll("tbody tr").length < 2) continue; // a single night is read in the table
    let plot = draw(figure);
    new ResizeObserver(() => plot.setSize({ width: figure.clientWidth, height: HEIGHT })).observe(figure);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      plot.destroy();
      plot = draw(figure);
    });
  }
})();
