// An open page shows what has changed: it asks every five seconds whether it is still
// the same, which costs a 304 as long as it is.
const EVERY_MS = 5_000;

// Nothing is taken out of somebody's hands: what they type, or have opened or selected.
function isInUse(main) {
  const active = document.activeElement;
  const isTyping = main.contains(active) && active.matches("input, textarea, select");
  const isTyped = [...main.querySelectorAll("input, textarea, select")].some(isChanged);
  const selection = document.getSelection();
  const isSelecting = selection && !selection.isCollapsed && main.contains(selection.anchorNode);
  return isTyping || isTyped || isSelecting || main.querySelector("dialog[open]");
}

function isChanged(field) {
  if (field.type === "checkbox" || field.type === "radio") {
    return field.checked !== field.defaultChecked;
  }
  if (field.tagName === "SELECT") {
    return [...field.options].some((option) => option.selected !== option.defaultSelected)
      && [...field.options].some((option) => option.defaultSelected);
  }
  return field.value !== field.defaultValue;
}

// Details are named by where they stand, and stay as their reader left them.
function takeOver(old, fresh) {
  const opened = [...old.querySelectorAll("details")].map((each) => each.open);
  const details = fresh.querySelectorAll("details");
  if (details.length === opened.length) {
    details.forEach((each, index) => (each.open = opened[index]));
  }
}

// What stands where something stood that had the focus.
function likeIt(old, fresh) {
  const told = (each) => [each.id, each.getAttribute("href"), each.textContent].join("\n");
  return [...fresh.querySelectorAll(old.tagName)].find((each) => told(each) === told(old));
}

export function keepFresh(improve) {
  let main = document.querySelector("main[data-refresh]");
  let tag = document.querySelector("meta[name=etag]").content;
  if (!main || !tag) return; // what was refused, or is shown once, must not go

  async function look() {
    if (document.hidden || isInUse(main)) return;
    const headers = { "If-None-Match": tag, "X-Stagegate-Refresh": "1" };
    const answer = await fetch(location.href, { headers, redirect: "error", cache: "no-store" });
    if (answer.status !== 200) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("main");
    if (!fresh || isInUse(main)) return;
    tag = answer.headers.get("ETag");
    takeOver(main, fresh);
    const focused = main.contains(document.activeElement) ? document.activeElement : null;
    main.replaceWith(fresh);
    // What waits is counted there.
    document.querySelector(".sections").replaceWith(page.querySelector(".sections"));
    main = fresh;
    improve(main);
    if (focused) likeIt(focused, main)?.focus({ preventScroll: true });
  }

  async function again() {
    try {
      await look();
    } catch {
      // The server is away, or somebody has signed out: what is shown stays.
    }
    setTimeout(again, EVERY_MS);
  }
  setTimeout(again, EVERY_MS);
}
