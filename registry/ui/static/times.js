// Instants in the reader's own zone; hovering shows them in UTC, exact.
const ABSOLUTE = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium",
  timeStyle: "medium",
});
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const STEPS = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 30],
  ["month", 12],
  ["year", Infinity],
];

function relative(instant) {
  let distance = (instant - Date.now()) / 1000;
  for (const [unit, step] of STEPS) {
    if (Math.abs(distance) < step) {
      return RELATIVE.format(Math.round(distance), unit);
    }
    distance /= step;
  }
  return "";
}

export function localise(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const instant = new Date(element.dateTime);
    if (Number.isNaN(instant.getTime())) continue;
    const text = "relative" in element.dataset ? relative(instant) : ABSOLUTE.format(instant);
    if (element.textContent !== text) element.textContent = text;
  }
}
