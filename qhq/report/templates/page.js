
"use strict";
// Sorting and filtering are an addition: without scripts every table is there, whole and in its first order.
(function () {
  function key(row, column) {
    var cell = row.cells[column], value = cell.getAttribute("data-v");
    return value === null ? cell.textContent.trim() : Number(value);
  }
  function compare(a, b, way) {
    var x = a.key, y = b.key, xn = typeof x === "number", yn = typeof y === "number";
    // What has no number stands last, whichever way the column is sorted.
    if (xn !== yn) { return xn ? -1 : 1; }
    var order = xn ? x - y : x.localeCompare(y, "en", { numeric: true });
    return way * order || a.place - b.place;
  }
  function sort(table, heading, column) {
    var body = table.tBodies[0], rows = Array.from(body.rows);
    var falling = heading.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[aria-sort]").forEach(function (each) { each.removeAttribute("aria-sort"); });
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    rows.map(function (row) { return { row: row, key: key(row, column), place: Number(row.dataset.place) }; })
      .sort(function (a, b) { return compare(a, b, falling ? -1 : 1); })
      .forEach(function (each) { body.appendChild(each.row); });
  }
  function addFilter(table) {
    var label = document.createElement("label"), input = document.createElement("input");
    var line = document.createElement("p"), count = document.createElement("output");
    line.className = "filter";
    label.textContent = "Show rows with";
    input.type = "search";
    input.setAttribute("aria-label", "Show rows with, in: " + table.caption.textContent);
    input.addEventListener("input", function () {
      var wanted = input.value.trim().toLowerCase(), rows = Array.from(table.tBodies[0].rows), shown = 0;
      rows.forEach(function (row) {
        row.hidden = row.textContent.toLowerCase().indexOf(wanted) < 0;
        shown += row.hidden ? 0 : 1;
      });
      // Stays on paper, where rows would be missing without a word.
      count.textContent = wanted ? shown + " of " + rows.length + " rows have \u201c" + input.value.trim() + "\u201d" : "";
    });
    label.appendChild(input);
    line.appendChild(label);
    line.appendChild(count);
    table.parentNode.parentNode.insertBefore(line, table.parentNode);
  }
  // Only what scrolls is a stop of the Tab key.
  function setStops() {
    var parts = Array.from(document.querySelectorAll("[data-scrolls]"));
    parts.map(function (part) { return part.scrollWidth > part.clientWidth; }).forEach(function (scrolls, place) {
      if (scrolls) { parts[place].tabIndex = 0; } else { parts[place].removeAttribute("tabindex"); }
    });
  }
  document.querySelectorAll("table[data-sorts]").forEach(function (table) {
    Array.from(table.tBodies[0].rows).forEach(function (row, place) { row.dataset.place = place; });
    Array.from(table.tHead.rows[0].cells).forEach(function (heading, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.textContent = "";
      heading.appendChild(button);
      button.addEventListener("click", function () { sort(table, heading, column); });
    });
    if (table.hasAttribute("data-filters")) { addFilter(table); }
  });
  setStops();
  window.addEventListener("load", setStops);
  window.addEventListener("resize", setStops);
  document.addEventListener("toggle", setStops, true);
  // Paper has nothing to unfold.
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (each) { each.open = true; });
  });
}());
