// A button beside each command, id and digest that copies all of it.
export function offerCopies(root) {
  if (!navigator.clipboard) return; // not over plain http from elsewhere
  for (const element of root.querySelectorAll("[data-copy]")) {
    if (element.nextElementSibling?.classList.contains("copy")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${element.dataset.copy.slice(0, 80)}`);
    button.addEventListener("click", () => copy(button, element.dataset.copy));
    element.after(button);
  }
}

async function copy(button, text) {
  await navigator.clipboard.writeText(text);
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
