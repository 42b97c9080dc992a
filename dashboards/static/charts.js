"use strict";

// Draws the charts from the JSON beside them. Labels arrive written and translated; null is a day without a value and
// stays a gap. Tooltips are drawn on the canvas ("richText") because HTML ones need inline styles, which the page forbids.

const INK = "#1b2530";
const QUIET = "#55616f";
const RULE = "#d5dbe2";
const FONT = getComputedStyle(document.body).fontFamily;
const COLOURS = { before: "#5f7389", after: "#1f66ad", adjusted: "#c06a00", target: "#17693f", band: "rgba(240, 160, 32, 0.22)" };

const grouped = new Intl.NumberFormat(document.documentElement.lang, { maximumSignificantDigits: 6 });
const plainAxis = {
  axisLine: { lineStyle: { color: QUIET } },
  axisTick: { lineStyle: { color: QUIET } },
  axisLabel: { color: QUIET, fontSize: 12 },
  splitLine: { lineStyle: { color: RULE, type: "dashed" } },
  nameTextStyle: { color: QUIET, fontSize: 12 },
};
const tooltip = {
  renderMode: "richText",
  confine: true,
  backgroundColor: "#fff",
  borderColor: RULE,
  textStyle: { color: INK, fontSize: 12, fontFamily: FONT },
};

function base() {
  return {
    animation: false,
    textStyle: { fontFamily: FONT, color: INK },
    legend: { top: 0, left: 0, icon: "roundRect", itemWidth: 16, itemHeight: 8, itemGap: 14, textStyle: { color: INK, fontSize: 12 } },
  };
}

function line(name, data, colour, extra) {
  return { name, type: "line", data, showSymbol: false, connectNulls: false, color: colour, lineStyle: { width: 1.8, color: colour }, emphasis: { disabled: true }, ...extra };
}

// Events of several days are grounds, others are lines; their names stand upright above the axis.
function eventMarks(data) {
  const label = { show: true, color: INK, fontSize: 11, formatter: "{b}" };
  const shown = data.events
    .map((event) => ({ ...event, first: data.days.find((day) => day >= event.first), last: data.days.findLast((day) => day <= event.last) }))
    .filter((event) => event.first && event.last && event.first <= event.last);
  const grounds = shown.filter((event) => event.first !== event.last);
  const lines = shown.filter((event) => event.first === event.last);
  return {
    markArea: {
      silent: true,
      itemStyle: { color: "rgba(192, 106, 0, 0.16)" },
      label: { ...label, position: "insideBottom", rotate: 90, align: "left", distance: 8 },
      data: grounds.map((event) => [{ name: event.label, xAxis: event.first }, { xAxis: event.last }]),
    },
    markLine: {
      silent: true,
      symbol: "none",
      lineStyle: { color: COLOURS.adjusted, type: "dotted", width: 1.4 },
      label: { ...label, position: "insideStartTop" },
      data: lines.map((event) => ({ name: event.label, xAxis: event.first })),
    },
  };
}

function daily(data) {
  const grounds = { baseline: "rgba(123, 142, 163, 0.06)", blackout: "rgba(85, 97, 111, 0.20)", reporting: "rgba(31, 102, 173, 0.07)" };
  const areas = data.periods.map((period) => [
    {
      xAxis: period.first,
      name: period.label,
      itemStyle: { color: grounds[period.name] },
      label: { position: "insideTop", color: QUIET, fontSize: 12, distance: 4 },
    },
    { xAxis: period.last },
  ]);
  const series = [
    line(data.labels.before, data.before, COLOURS.before, { symbol: "circle", symbolSize: 3, markArea: { silent: true, data: areas } }),
    line(data.labels.after, data.after, COLOURS.after, { lineStyle: { width: 2.2, color: COLOURS.after }, ...eventMarks(data) }),
  ];
  if (data.low) {
    const width = data.low.map((low, index) => (low === null ? null : data.high[index] - low));
    const silent = { symbol: "none", silent: true, stack: "band", stackStrategy: "all", lineStyle: { opacity: 0 }, tooltip: { show: false } };
    series.push(line("band-floor", data.low, COLOURS.band, silent));
    series.push(line(data.labels.band, width, COLOURS.band, { ...silent, lineStyle: { width: 0, color: COLOURS.band }, areaStyle: { color: COLOURS.band } }));
  }
  if (data.adjusted) {
    series.push(line(data.labels.adjusted, data.adjusted, COLOURS.adjusted, { z: 1, lineStyle: { width: 1.4, color: COLOURS.adjusted } }));
  }
  if (data.target) {
    series.push(line(data.labels.target, data.target, COLOURS.target, { lineStyle: { width: 1.4, type: "dashed", color: COLOURS.target } }));
  }
  return {
    ...base(),
    legend: { ...base().legend, data: series.map((one) => one.name).filter((name) => name !== "band-floor") },
    // The legend takes three rows on a phone.
    grid: { left: 8, right: 18, top: window.innerWidth > 560 ? 44 : 86, bottom: 4, containLabel: true },
    tooltip: {
      ...tooltip,
      trigger: "axis",
      formatter: (points) => [
        points[0].axisValue,
        ...points
          .filter((point) => typeof point.value === "number" && point.seriesName !== "band-floor" && point.seriesName !== data.labels.band)
          .map((point) => `${point.seriesName}  ${grouped.format(point.value)} ${data.unit}`),
      ].join("\n"),
    },
    xAxis: { ...plainAxis, type: "category", data: data.days, boundaryGap: false, splitLine: { show: false }, axisLabel: { ...plainAxis.axisLabel, formatter: (day) => day.slice(5), hideOverlap: true } },
    yAxis: { ...plainAxis, type: "value", min: 0, axisLabel: { ...plainAxis.axisLabel, formatter: (value) => grouped.format(value) } },
    series,
  };
}

function scatter(data) {
  const points = (name, values, colour, symbol) => ({ name, type: "scatter", data: values, symbol, symbolSize: 7, itemStyle: { color: colour, opacity: 0.75 }, emphasis: { disabled: true } });
  const series = [
    points(data.labels.before, data.before, COLOURS.before, "circle"),
    points(data.labels.after, data.after, COLOURS.after, "diamond"),
  ];
  if (data.line) {
    series.push(line(data.labels.line, data.line, COLOURS.adjusted, { silent: true, tooltip: { show: false } }));
  }
  return {
    ...base(),
    grid: { left: 26, right: 24, top: 34, bottom: 26, containLabel: true },
    tooltip: {
      ...tooltip,
      trigger: "item",
      formatter: (point) => `${point.value[2]}\n${data.labels.output}  ${grouped.format(point.value[0])}\n${data.labels.energy}  ${grouped.format(point.value[1])}`,
    },
    xAxis: { ...plainAxis, type: "value", scale: true, name: data.labels.output, nameLocation: "middle", nameGap: 28 },
    yAxis: { ...plainAxis, type: "value", scale: true, name: data.labels.energy, nameLocation: "middle", nameGap: 46, axisLabel: { ...plainAxis.axisLabel, formatter: (value) => grouped.format(value) } },
    series,
  };
}

const drawings = { daily, scatter };
const charts = [];
for (const place of document.querySelectorAll("[data-chart]")) {
  const data = JSON.parse(document.getElementById(place.dataset.source).textContent);
  const chart = echarts.init(place, null, { renderer: "canvas", devicePixelRatio: Math.max(2, window.devicePixelRatio) });
  chart.setOption(drawings[place.dataset.chart](data));
  place.dataset.drawn = "yes";
  charts.push(chart);
}
new ResizeObserver(() => charts.forEach((chart) => chart.resize())).observe(document.body);
