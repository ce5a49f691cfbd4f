'''The frame that all studies share: ``prepare -> train -> evaluate -> table``.

A study compares *arms* (ways to train, rows of the table) by *metrics* over *seeds*, and says for each
*claim* of the paper whether it holds. The frame runs the jobs (one an arm and a seed), skips finished ones,
goes on in the middle of a training that was cut off, and writes ``results.json``, ``table.txt``,
``plot.svg`` and ``report.html``. A study writes only what is its own. It needs three things:

1. A recipe, a frozen dataclass below :class:`Recipe` whose field docstrings are the help text, in a file of
   its own (``studies/<name>/recipe.py``, free of torch), with its defaults the miniature.
2. A class with what :class:`Study` says::

       class HueStudy:
           name = "hue"
           recipe_type = HueRecipe
           presets = {"miniature": HueRecipe(), "full": HueRecipe(steps=100_000)}
           metrics = (Metric(name="top1", text="top-1 accuracy", percent=True),)
           claims = (
               Claim(
                   text="More views raise accuracy.", source="arXiv:2303.06042, Table 3",
                   paper="69.3 -> 71.1", metric="top1", better="many", than="one",
               ),
           )

           def arms(self, recipe: HueRecipe) -> tuple[str, ...]:
               return ("one", "many")

           def prepare(self, recipe: HueRecipe, folder: Path, progress: Progress) -> None:
               """Put what the jobs need into ``folder``; called before each run, so keep what is there."""

           def train(self, recipe: HueRecipe, job: Job) -> None:
               import torch

               with seeded(job.seed):  # the same weights for the same seed
                   net = make_net(recipe).to(job.device)
               optimizer = torch.optim.SGD(net.parameters(), lr=recipe.rate, momentum=0.9)

               def step(number: int) -> float:  # a function of the number, the seed and the state alone
                   images, labels = batch_of(job.data_dir, rng_of(job.seed, "batch", number))
                   loss = cross_entropy(net(images.to(job.device)), labels.to(job.device))
                   optimizer.zero_grad()
                   loss.backward()
                   optimizer.step()
                   return loss.item()

               fit(job, {"net": net, "optimizer": optimizer}, step, num_steps=recipe.steps)
               save_result(job.folder / "net.pt", net.state_dict())

           def evaluate(self, recipe: HueRecipe, job: Job) -> dict[str, float]:
               return {"top1": ...}  # finite numbers; others than the metrics' are kept in results.json too

3. A line in ``walkaround.studies.STUDIES``: ``"hue": "walkaround.studies.hue.study:HueStudy"``.

Then ``walkaround study hue OUT`` runs it with every field of the recipe as an option, ``--preset full``
starts from other values, and :func:`run_study` does the same from Python. ``train`` and ``evaluate`` of a
job may use only ``job.data_dir`` (what ``prepare`` made; read only), ``job.folder`` (its own) and
``job.folder_of(arm)`` (what an arm before it left with the same seed; read only). Random numbers come from
:func:`rng_of` (NumPy) and :func:`seeded` (torch).
'''

from typing import TYPE_CHECKING

from walkaround.lazy import lazy_names
from walkaround.studies.frame.recipe import Recipe
from walkaround.studies.frame.study import Claim, Job, Metric, Study

if TYPE_CHECKING:
    from walkaround.studies.frame.checkpoints import fit, load_result, save_result
    from walkaround.studies.frame.run import run_study
    from walkaround.studies.frame.seeds import pick_device, rng_of, seeded
    from walkaround.studies.frame.table import Results
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "walkaround.studies.frame.checkpoints": ("fit", "load_result", "save_result"),
            "walkaround.studies.frame.run": ("run_study",),
            "walkaround.studies.frame.seeds": ("pick_device", "rng_of", "seeded"),
            "walkaround.studies.frame.table": ("Results",),
        },
    )

__all__ = [
    "Claim",
    "Job",
    "Metric",
    "Recipe",
    "Results",
    "Study",
    "fit",
    "load_result",
    "pick_device",
    "rng_of",
    "run_study",
    "save_result",
    "seeded",
]
