"""From a configuration, and a checkpoint where there is one, to the model of the stage with its weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import open_clip
import torch
from torch import Tensor
from yacs.config import CfgNode

from echoviewclip.clip.blocks import is_copy
from echoviewclip.clip.text import tokenize
from echoviewclip.inference.checkpoint import AnyCheckpoint, BareWeights, Checkpoint
from echoviewclip.inference.resume import load_weights, with_activation
from echoviewclip.models.build import build_model, configured_towers, has_text, prompt_texts
from echoviewclip.models.growth import GROWTH, holds_branch
from echoviewclip.models.outputs import present
from echoviewclip.models.tokens import TokenRows
from echoviewclip.models.video_clip import VideoCLIP
from echoviewclip.utils.errors import UserError

log = logging.getLogger(__name__)

# Where a model's state holds the embeddings of its prompts.
POSITIVE, NEGATIVE = "positive_text.prompts.embeddings", "negative_text.prompts.embeddings"


def restore_model(
    config: CfgNode, views: Sequence[str], checkpoint: AnyCheckpoint | None, answers: bool = False
) -> tuple[VideoCLIP, TokenRows | None]:
    """The model of `config.STAGE` with the weights of a checkpoint (`read_checkpoint`; None: MODEL.PRETRAINED).

    The prompts are those that the configuration names. Their words come from the checkpoint, or else from the token
    table of MODEL.PRETRAINED, which then has to be the one that the checkpoint was trained with.

    A model that `answers` must have been trained: a checkpoint without a branch of the stage is refused. Otherwise the
    branches that it lacks start as copies.

    Returns the model, and the rows of the table that its checkpoints keep: those of both the positive and the negative
    prompts, as far as they are known; None where the model reads no prompts. Raises UserError.
    """
    if answers and checkpoint:
        _check_branches(config, checkpoint)
    weights = checkpoint.weights if checkpoint else {}
    tokens = None
    if not has_text(config):
        towers = configured_towers(config, overwritten=checkpoint is not None)
    elif checkpoint is None:
        towers = configured_towers(config)
        tokens = TokenRows.of_table(towers.token_embedding, _words(_token_ids(config, views)))
    else:
        towers, tokens, weights = _towers_with_words(config, views, checkpoint)
    model = build_model(config, views, towers)
    if checkpoint:
        load_weights(model, weights, checkpoint.file or "")
    if answers or config.STAGE == "quality":
        _leave_out_copies(config, model, checkpoint)
    return model, tokens


def _check_branches(config: CfgNode, checkpoint: AnyCheckpoint) -> None:
    """Raises UserError for a branch that would start as a copy, and answer without having learned anything."""
    for branch in GROWTH[config.STAGE].branches:
        if not holds_branch(checkpoint.weights, branch):
            raise UserError(
                f"{checkpoint.file}: has no {branch} branch, which STAGE {config.STAGE} needs; "
                "set STAGE to the one it was trained for"
            )


def _leave_out_copies(config: CfgNode, model: VideoCLIP, checkpoint: AnyCheckpoint | None) -> None:
    """Takes the negative branch out of the answers where it is still the copy of the positive one that it starts as."""
    if model.negative is None or not is_copy(model.negative.blocks, model.positive.blocks):
        return
    if config.STAGE == "negation" and checkpoint:
        raise UserError(f"{checkpoint.file}: nobody has trained its negative branch, a copy of the positive one")
    model.untrained = ("negative",)
    log.warning(
        "nobody has trained the negative branch, a copy of the positive one: the quality branch reads it, but it gives "
        "no scores of its own; train stage negation before stage quality (train_stage2.sh)"
    )


def _towers_with_words(
    config: CfgNode, views: Sequence[str], checkpoint: AnyCheckpoint
) -> tuple[open_clip.CLIP, TokenRows, dict[str, Tensor]]:
    """Towers whose token table has the words of the prompts, the rows of it that are known, and the weights to load.

    Those are the checkpoint's, without the embeddings of prompts that are not the configuration's.
    """
    ids = _token_ids(config, views)
    words = _words(ids)
    own = checkpoint.origin.configuration() if isinstance(checkpoint, Checkpoint) else None
    known = _known_rows(checkpoint, own, ids)
    weights = _without_other_prompts(config, ids, checkpoint, own)
    read = {POSITIVE: True, NEGATIVE: config.STAGE != "view" and config.MODEL.VARIANT == "paper"}
    lacking = [ids[name].flatten() for name in read if read[name] and name not in weights]
    published = isinstance(checkpoint, BareWeights) and checkpoint.published
    if known is None or published or not all(map(known.covers, lacking)):
        towers = _towers_with_table(config, checkpoint, own, known)
    else:
        towers = configured_towers(config, overwritten=True)
        torch.nn.init.constant_(towers.token_embedding.weight, torch.nan)  # what is not known must not be read
        words = words[torch.isin(words, known.ids)]
    if known is not None:
        known.write_to(towers.token_embedding)
    return towers, TokenRows.of_table(towers.token_embedding, words), weights


def own_towers(checkpoint: Checkpoint) -> open_clip.CLIP:
    """The towers that the run of a checkpoint of ours started from, with the token table of its prompts.

    Raises UserError where they cannot be had or have another table.
    """
    config = with_activation(checkpoint.origin.configuration(), checkpoint)
    known = _known_rows(checkpoint, config, {})
    towers = _towers_with_table(config, checkpoint, config, known)
    if known is not None:
        known.write_to(towers.token_embedding)
    return towers


def _words(ids: dict[str, Tensor]) -> Tensor:
    """Token ids of prompts as one, int64 [M]."""
    return torch.cat(list(ids.values())).flatten()


def _token_ids(config: CfgNode, views: Sequence[str]) -> dict[str, Tensor]:
    """Token ids int64 [K, 77] of the positive and of the negative prompts."""
    return {name: tokenize(prompt_texts(config, views, name == NEGATIVE)) for name in (POSITIVE, NEGATIVE)}


def _known_rows(checkpoint: AnyCheckpoint, own: CfgNode | None, ids: dict[str, Tensor]) -> TokenRows | None:
    """The rows of the token table that a checkpoint brings; those of its positive prompts where it keeps no others.

    `own` is its configuration; published ones have none, and had the prompts `ids` if they are loaded rightly.
    """
    if isinstance(checkpoint, BareWeights):
        if checkpoint.prompts is not None and len(checkpoint.prompts) != len(ids[POSITIVE]):
            raise UserError(
                f"{checkpoint.file}: was trained on {len(checkpoint.prompts)} views, DATA.LABEL_LIST names "
                f"{len(ids[POSITIVE])}"
            )
        return None if checkpoint.prompts is None else TokenRows.of_prompts(ids[POSITIVE], checkpoint.prompts)
    embeddings = checkpoint.weights.get(POSITIVE)
    if checkpoint.origin.tokens or embeddings is None:
        return checkpoint.origin.tokens
    ids = _token_ids(present(own), checkpoint.origin.views)
    known = TokenRows.of_prompts(ids[POSITIVE], embeddings)
    _warn_of_random_words(checkpoint, known, ids[NEGATIVE])
    return known


def _warn_of_random_words(checkpoint: Checkpoint, known: TokenRows, negative: Tensor) -> None:
    """Earlier versions looked the negative prompts of stage 2 up in a random table; the log says what that means."""
    if NEGATIVE in checkpoint.weights:
        rows = TokenRows.of_prompts(negative, checkpoint.weights[NEGATIVE])
        if not known.agrees_with(rows):
            log.warning(
                "%s: its negative prompts are words of another token table than its positive ones, without meaning to "
                "the text tower: train stage negation again",
                checkpoint.file,
            )


def _without_other_prompts(
    config: CfgNode, ids: dict[str, Tensor], checkpoint: AnyCheckpoint, own: CfgNode | None
) -> dict[str, Tensor]:
    """A checkpoint's weights but for the embeddings of prompts that are not those of the configuration."""
    if own is None or not isinstance(checkpoint, Checkpoint):
        return checkpoint.weights
    own_ids = _token_ids(own, checkpoint.origin.views)
    other = [name for name in ids if not torch.equal(ids[name], own_ids[name])]
    if other and config.MODEL.VARIANT == "released":
        other = [POSITIVE]  # as long as the longest of both
    return {name: value for name, value in checkpoint.weights.items() if name not in other}


def _towers_with_table(
    config: CfgNode, checkpoint: AnyCheckpoint, own: CfgNode | None, known: TokenRows | None
) -> open_clip.CLIP:
    """The towers of MODEL.PRETRAINED with their whole token table. Raises UserError where it is not that of `known`."""
    given, trained = config.MODEL.PRETRAINED, own.MODEL.PRETRAINED if own is not None else None
    if given or own is None:
        towers = configured_towers(config)
    elif trained:
        raise UserError(
            f"{checkpoint.file}: lacks words of the prompts, and MODEL.PRETRAINED is empty: set it to {trained}, "
            "which it was trained with"
        )
    else:  # from random weights, which the seed of its run makes again
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(own.SEED)
            towers = configured_towers(own, overwritten=True)
    if known is not None and not known.agrees_with(TokenRows.of_table(towers.token_embedding)):
        raise UserError(f"{checkpoint.file}: {_other_table(given, trained)}")
    return towers


def _other_table(given: str, trained: str | None) -> str:
    """What is wrong with a token table that is not the checkpoint's, and what to do."""
    if trained is None:
        return (
            f"its prompts are not these in the token table of MODEL.PRETRAINED {given}: give the label list "
            "(DATA.LABEL_LIST), the words (CTX_INIT) and the weights it was trained with"
        )
    if not given and not trained:
        return (
            "lacks the rest of its random token table, which its seed does not make again here: "
            "keep its prompts (CTX_INIT, CTX_INIT_NO), or train stage view again"
        )
    if given == trained:
        return f"MODEL.PRETRAINED {given} has changed since it was trained with it: give the weights as they were then"
    right = f"set MODEL.PRETRAINED {trained}" if trained else "it started from random ones: set MODEL.PRETRAINED ''"
    return f"was not trained with the weights of MODEL.PRETRAINED {given}; {right}"
