// "/" goes to the search, as in most places with one.
export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const field = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (field) {
      event.preventDefault();
      field.focus();
    }
  });
}

// A second press while the first is being answered would be refused as stale, though
// the first was carried out. Where no answer comes, it may be pressed again.
const ANSWER_MS = 10_000;

export function sendFormsOnce() {
  const sent = new Map();
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (Date.now() - sent.get(event.target) < ANSWER_MS) event.preventDefault();
    else sent.set(event.target, Date.now());
  });
  window.addEventListener("pageshow", () => sent.clear()); // somebody has come back
}
