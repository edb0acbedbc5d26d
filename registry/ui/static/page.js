// What every page is improved by. Without it each of them works as well.
import { localise } from "./times.js";
import { offerCopies } from "./copy.js";
import { keepFresh } from "./refresh.js";
import { listenToKeys, sendFormsOnce } from "./input.js";

function improve(root) {
  localise(root);
  offerCopies(root);
}

improve(document);
listenToKeys();
sendFormsOnce();
keepFresh(improve);
// Relative times grow old while a page stays open.
setInterval(() => localise(document), 30_000);
