"""Where a training's samples come from: rendered streets, or sets that are there already, of bags or of public data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spike_depth_core.recipes import Stage
from spike_depth_core.samples import SENSORS, DepthSample
from spike_depth_core.samples.files import has_samples, list_samples, load_sample
from spike_depth_core.training import distributed
from spike_depth_core.training.data import Draws, SampleFolder, SampleFolders
from spike_depth_core.training.domain_data import domain_folder, render_domain, settings_of
from spike_depth_core.training.domain_needs import DomainNeeds, needed_domain
from spike_depth_core.training.extracted import ExtractedSet, is_extracted
from spike_depth_core.training.validation import Validation
from spike_depth_core.training.world_data import (
    FORMATS,
    TRAIN_SEED,
    VALIDATION_SEED,
    counts_of,
    render_samples,
    seeds_of,
)

_TRUTHS = 500  # about so many of a folder, evenly spaced, are what the row prior is fitted to


@dataclass(frozen=True)
class Source:
    """What a training learns from.

    Attributes:
        data: training samples by domain.
        validations: by name, see `TrainingRun`; none where nothing is labelled.
        about: of the data, for the checkpoint.
    """

    data: Mapping[str, SampleFolders]
    validations: dict[str, Validation]
    about: dict[str, Any] = field(default_factory=dict)

    def labelled(self) -> Iterator[DepthSample]:
        """Training samples of each folder that have a true depth, without their images; of several domains those of
        the source, because labels of another may be there and not meant to be looked at."""
        for folder in (self.data.get("source") or next(iter(self.data.values()))).folders:
            for path in folder.paths[:: max(1, len(folder.paths) // _TRUTHS)]:
                sample = load_sample(path, sensors=())
                if sample.depth:
                    yield sample

    def check(self, stages: Sequence[Stage]) -> list[str]:
        """Whether each stage can learn from this, without reading samples.

        Returns:
            Folders that are left out, each with the stage and the reason, in a line.

        Raises:
            ValueError: naming what a recipe needs and the data lacks.
        """
        left_out = []
        for stage in stages:
            try:
                draws = Draws(self.data, stage.recipe, distributed.place()[1], 1, seed=0)
            except ValueError as error:
                raise ValueError(f"{stage.recipe.name} cannot learn from this data: {error}") from error
            left_out += [f"{stage.recipe.name} leaves out a folder: {reason}" for reason in draws.left_out]
        return left_out


def rendered_streets(
    folder: Path,
    frames: int,
    validation_frames: int,
    render: bool = True,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> Callable[[], Source]:
    """Streets of the procedural world, rendered into a folder where they are missing.

    Args:
        folder: of the samples.
        frames, validation_frames: how many.
        render: whether this process renders; of several, one does.
        progress: called with the split, samples done, and samples in all.

    Returns:
        What gives the source once all samples are there.

    Raises:
        ValueError: before any is rendered, for fewer than one of each format, or more than there are.
    """
    splits = (("train", frames, TRAIN_SEED), ("validation", validation_frames, VALIDATION_SEED))
    for split, count, _ in splits:
        try:
            counts_of(count)
        except ValueError as error:
            raise ValueError(f"{split}: {error}") from error
    for split, count, first_seed in splits if render else ():
        for done, total in render_samples(folder / split, count, first_seed):
            progress(split, done, total)

    def source() -> Source:
        counts = counts_of(frames)
        folders = [SampleFolder(folder / "train" / f.name, counts[f.name]) for f in FORMATS]
        return Source(
            {"source": SampleFolders(folders, [f.weight for f in FORMATS])},
            streets_validations(folder, validation_frames),
            {
                "samples": frames,
                "formats": [dataclasses.asdict(f) for f in FORMATS],
                "scene_seeds": seeds_of(frames, TRAIN_SEED),
            },
        )

    return source


def streets_validations(folder: Path, frames: int | None = None) -> dict[str, Validation]:
    """What a training on rendered streets is judged by: each kind of street and of view that it learns from.

    Args:
        folder: of the samples.
        frames: for how many in all they were rendered; all that are there when None.
    """
    counts = None if frames is None else counts_of(frames)
    several = [("spikes", "rgb", "nir", "thermal"), ("spikes",), ("rgb",), ("thermal",), ("spikes", "thermal")]
    kinds = {"wide": "wide_frames", "aside": "wide_aside", "yards": "wide_yards"}

    def of(kind: str, subsets: Sequence[tuple[str, ...]]) -> Validation:
        paths = list_samples(folder / "validation" / kind)
        return Validation(paths if counts is None else paths[: counts[kind]], subsets)

    return {
        "vehicle": of("vehicle_small", several),
        **{name: of(kind, [("rgb",)]) for name, kind in kinds.items()},
    }


def rendered_domains(
    folder: Path,
    needs: Mapping[str, DomainNeeds],
    pixels: int,
    frames: int,
    validation_frames: int,
    render: bool = True,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> Callable[[], Source]:
    """Domains of the world as a recipe needs them, rendered into `folder/domains` where they are missing.

    Args:
        folder: of the samples.
        needs: by domain.
        pixels: of the network's pictures, see `needed_domain`.
        frames, validation_frames: how many samples of each domain, in whole sequences; validation is on the first
            domain alone, so that no label of another is looked at.
        render: whether this process renders; of several, one does.
        progress: called with domain and split, samples done, and samples in all.

    Returns:
        What gives the source once all samples are there.
    """
    domains = {name: needed_domain(name, need, pixels) for name, need in needs.items()}
    folders = {name: domain_folder(folder / "domains", domain) for name, domain in domains.items()}
    labelled = next(iter(domains))
    counts = [(name, "train", frames) for name in domains] + [(labelled, "validation", validation_frames)]
    sequences = {(name, split): -(-count // domains[name].frames) for name, split, count in counts}
    for (name, split), count in sequences.items() if render else ():
        for done, total in render_domain(folders[name] / split, domains[name], split, count):
            progress(f"{name}, {split}", done, total)

    def source() -> Source:
        # Of what is there, which may be more: another training has asked for it.
        samples = {(name, split): count * domains[name].frames for (name, split), count in sequences.items()}
        trained = {name: samples[name, "train"] for name in domains}
        validation = validation_of(folders[labelled] / "validation", samples[labelled, "validation"])
        return Source(
            {name: SampleFolders([SampleFolder(folders[name] / "train", count)]) for name, count in trained.items()},
            {} if validation is None else {labelled: validation},
            {"domains": {name: {"samples": trained[name], **settings_of(domain)} for name, domain in domains.items()}},
        )

    return source


def is_set(folder: Path) -> bool:
    """Whether a folder holds samples to learn from: extracted from bags, or sample files in `train`."""
    return is_extracted(folder) or has_samples(folder / "train")


def sample_sets(folders: Mapping[str, Path], domains: Sequence[str]) -> Source:
    """Samples that were extracted from bags, or made of a public data set.

    Args:
        folders: sets by domain; the one named "" is for the only domain there is. A set is what `spike-depth extract`
            makes; or a folder with sample files, as `spike-depth convert dataset` makes them, in its folders `train`
            and, if the training is to be judged, `validation`.
        domains: that are learned from.

    Raises:
        ValueError: naming the domain or the set that is missing, or incomplete.
    """
    known = dict(folders)
    if "" in known and len(domains) == 1:
        known[domains[0]] = known.pop("")
    if set(known) != set(domains):
        found = ", ".join(name or "one without a name" for name in folders)
        raise ValueError(
            f"data is needed of {', '.join(domains)}, found {found}; say --data "
            + " --data ".join(f"{domain}=DIR" for domain in domains)
        )
    sets = {
        domain: _extracted(known[domain]) if is_extracted(known[domain]) else _files(known[domain])
        for domain in domains
    }
    return Source(
        {domain: source.data[""] for domain, source in sets.items()},
        sets[domains[0]].validations,  # whatever another domain's labels say chooses nothing
        {"data": {domain: source.about for domain, source in sets.items()}},
    )


def _extracted(folder: Path) -> Source:
    data = ExtractedSet(folder)
    data.check_complete()
    about = {
        "bags": [recording.name for recording in data.plan.recordings],
        "samples": {split: total.samples for split, total in data.totals().items()},
        "shards": data.digest,
    }
    folders = [SampleFolder(path, digest=data.digest) for path in data.folders("train")]
    return Source({"": SampleFolders(folders)}, extracted_validations(data), about)


def _files(folder: Path) -> Source:
    data, samples, validations = SampleFolders([folder / "train"]), {}, {}
    samples["train"] = len(data)
    if has_samples(folder / "validation"):
        samples["validation"] = len(list_samples(folder / "validation"))
        validations = _validations_of_files(folder)
    return Source({"": data}, validations, {"folder": folder.resolve().name, "samples": samples})


def _validations_of_files(folder: Path) -> dict[str, Validation]:
    validation = validation_of(folder / "validation")
    return {} if validation is None else {folder.resolve().name: validation}


def extracted_validations(data: ExtractedSet) -> dict[str, Validation]:
    """What a training on extracted samples is judged by: those of its split for validation that are labelled."""
    folders = data.folders("validation") if "validation" in data.totals() else []
    found = {folder.name: validation_of(folder) for folder in folders}
    return {name: validation for name, validation in found.items() if validation is not None}


def validations_in(folder: Path) -> dict[str, Validation]:
    """What a training on a folder, an extracted set or rendered streets, is judged by.

    Raises:
        ValueError: naming the folder, where nothing in it can judge.
    """
    if not is_extracted(folder):
        if not (folder / "validation").is_dir():
            raise ValueError(f"{folder} holds neither samples for validation nor rendered streets (`train --data`)")
        if not has_samples(folder / "validation"):
            return streets_validations(folder)
        found = _validations_of_files(folder)
    else:
        data = ExtractedSet(folder)
        data.check_complete()
        found = extracted_validations(data)
    if not found:
        raise ValueError(f"{folder} has no labelled samples for validation")
    return found


def validation_of(folder: Path, count: int | None = None) -> Validation | None:
    """All sensors together and each alone, on the labelled samples of a folder, or of its first; None without any."""
    samples = SampleFolder(folder, count)
    images = tuple(sensor for sensor in SENSORS if sensor in samples.images)
    labelled = [p for p, s in zip(samples.paths, samples.summaries, strict=True) if s.depth >= set(images)]
    if not labelled:
        return None
    subsets = [tuple(s for s in SENSORS if s in images), *((s,) for s in images)]
    return Validation(labelled, list(dict.fromkeys(subsets)))


def parse_data(given: Sequence[str]) -> dict[str, Path]:
    """Folders by domain, from `DIR` (of a domain without a name) or `DOMAIN=DIR`.

    Raises:
        ValueError: for a domain that is told twice, or a folder that is no set beside others.
    """
    found: dict[str, Path] = {}
    for text in given:
        domain, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            domain, path = "", text
        if domain in found:
            raise ValueError(f"--data tells {domain or 'a folder'} twice: {found[domain]} and {path}")
        found[domain] = Path(path)
    if len(found) > 1 or any(found):
        for path_of in found.values():
            if not is_set(path_of):
                raise ValueError(f"{path_of} is no data set: it has neither a manifest.json nor sample files in train/")
    return found


def domains_of(stages: Sequence[Stage]) -> tuple[str, ...]:
    """The domains that stages learn from."""
    return tuple(dict.fromkeys(domain for stage in stages for domain in stage.recipe.domains))
