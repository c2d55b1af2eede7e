// How the search orders its results. The numbers are those of Sphinx. `score` is ours: a page that states how
// something was decided or measured comes after the pages that state how it is used.
const BACKGROUND = /^(docs\/decisions|benchmarks|training|CHANGELOG|CONTRIBUTING)/;

var Scorer = {
  score: ([page, title, anchor, description, score]) =>
    BACKGROUND.test(page) ? score - 100 : score,
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
