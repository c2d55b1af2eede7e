// Draws the plots in the colours of the page, and makes tables sortable. It contains no data.
"use strict";
(() => {
  // The colours of style.py, and the colour of each on a dark page.
  const DARK = {
    "#0072b2": "#4aa8e0", "#d55e00": "#f5894a", "#009e73": "#35c79d", "#cc79a7": "#e3a3c6",
    "#e69f00": "#f3bd4f", "#56b4e9": "#9ad6f7", "#1d2126": "#e4e6e3", "#5a626c": "#a0a8b0",
    "#e6e5df": "#2b3136", "#bdbbb2": "#545c63", "#ffffff": "#23282d",
    "#e3eef6": "#16324a", "#a9cfe6": "#1c5582", "#56a3d0": "#2f86bd", "#1f6ea8": "#6cb8e6",
    "#0b3c66": "#d5ecfa",
    "#8f3b00": "#ffb27a", "#e08a4b": "#b8622a", "#f4f2ee": "#2b3136", "#4292c6": "#2f7fb5",
    "#08306b": "#8fd0ff",
  };
  const PRINT_WIDTH = 640;
  const isDark = window.matchMedia("(prefers-color-scheme: dark)");
  const isPrint = window.matchMedia("print");
  const isCoarse = window.matchMedia("(pointer: coarse)");
  let printing = isPrint.matches;

  // A copy of a plot with the colours of a dark page; the keys of colours end in "color".
  const recolor = (value, key = "") => {
    if (Array.isArray(value)) return value.map((one) => recolor(one, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, one]) => [k, recolor(one, k)]));
    }
    return /color(scale)?$/.test(key) && Object.hasOwn(DARK, value) ? DARK[value] : value;
  };

  const draw = (plot) => {
    const element = document.getElementById(plot.id);
    const { data, layout } = !printing && isDark.matches ? recolor(plot) : structuredClone(plot);
    const width = element.clientWidth;
    layout.width = printing ? Math.min(width, PRINT_WIDTH) : width;
    // Letters are as large as their cells, which shrink with the page.
    for (const trace of data) {
      if (trace.texttemplate) {
        trace.textfont.size = Math.min(12, (1.4 * (layout.width - 140)) / trace.x.length);
      }
    }
    layout.dragmode = isCoarse.matches ? false : "zoom";
    Plotly.react(element, data, layout, {
      displaylogo: false,
      modeBarButtons: [["toImage", "resetScale2d"]],
      toImageButtonOptions: { filename: plot.id },
      displayModeBar: isCoarse.matches ? false : "hover",
    });
  };

  const drawAll = () => plots.forEach(draw);

  const plots = JSON.parse(document.getElementById("plots").textContent);
  if (plots.length) {
    drawAll();
    isDark.addEventListener("change", drawAll);
    const setPrinting = (value) => {
      if (value !== printing) {
        printing = value;
        drawAll();
      }
    };
    isPrint.addEventListener("change", (event) => setPrinting(event.matches));
    window.addEventListener("beforeprint", () => setPrinting(true));
    window.addEventListener("afterprint", () => setPrinting(isPrint.matches));
    let waiting = 0;
    let width = window.innerWidth;
    window.addEventListener("resize", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        if (width !== window.innerWidth && !printing) drawAll();
        width = window.innerWidth;
      }, 150);
    });
  }

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };

  // Numbers before text, in either direction; equal rows keep their order.
  const compare = (one, other, direction) => {
    const isNumber = [typeof one === "number", typeof other === "number"];
    if (isNumber[0] !== isNumber[1]) return isNumber[0] ? -1 : 1;
    if (isNumber[0]) return direction * (one - other);
    return direction * one.localeCompare(other, undefined, { numeric: true });
  };

  const sort = (table, head) => {
    const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [keyOf(row, head.cellIndex), row]);
    rows.sort(([one], [other]) => compare(one, other, direction));
    body.append(...rows.map(([, row]) => row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      // The whole cell, which includes the button for the keyboard.
      head.addEventListener("click", () => sort(table, head));
    }
  }
})();
