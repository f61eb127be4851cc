"""Recipes: which files and options they may name, what is refused before anything runs, and that ours are the article's."""

import shutil
from pathlib import Path

import pytest
import yaml

from mvh import recipe as recipe_room
from mvh import train

from .conftest import make_rows, write_jsonl

ROOT = Path(train.__file__).parent


def test_a_strict_training_takes_no_dataset_that_was_built_past_bad_rows(recipe, tmp_path, monkeypatch):
    file = write_jsonl(tmp_path / "train.jsonl", [*make_rows(60), {"text": 5, "label": 0, "id": 999}])

    def load(*options):
        model_args, data_args, args = recipe_room.parse_recipe(
            [str(recipe), "--train_file", str(file), "--output_dir", str(tmp_path), *options]
        )
        return train.load_segments(data_args, model_args, args, train.load_tokenizer(model_args.backbone))

    assert len(load()["train"])
    with pytest.raises(
        ValueError, match="was built past 1 bad rows or rewrites, and the recipe is strict. Name another"
    ):
        load("--strict", "True")
    assert train.passed_over({"rejected": {}, "augmentation": [{"pieces": {"failed": 2}}, {}]}) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--warmup_steps", "0.1"], "exclude warmup_steps"),
        (["--frozen_epochs", "-1"], r"count from 1, or are 0 alone for none, got \[-1\]"),
        (["--frozen_epochs", "0", "1"], r"count from 1, or are 0 alone for none, got \[0, 1\]"),
        (["--lr_milestones", "-1"], "must be epochs after the start"),
        (["--lr_milestones", "nan"], "must be epochs after the start"),
        (["--lr_gamma", "0"], "lr_gamma must be a positive factor, got 0.0"),
        (["--learning_rate", "nan"], "learning_rate must be a number that is not negative, got nan"),
        (["--weight_decay", "inf"], "weight_decay must be a number"),
        (["--masked_learning_rate", "nan"], "masked_epochs and masked_learning_rate must not be negative"),
        (["--gradient_accumulation_steps", "0"], "gradient_accumulation_steps must be at least 1, got 0"),
        (["--lora_r", "-1"], "lora_r must be a rank, or 0 for no LoRA, got -1"),
        (["--lora_dropout", "1"], "lora_dropout must be at least 0 and less than 1, got 1.0"),
        (["--head_dropout", "nan"], "head_dropout must be at least 0 and less than 1, got nan"),
        (["--encoder_dropout", "-0.1"], "encoder_dropout must be at least 0 and less than 1, got -0.1"),
        (["--documents", "0"], "documents must be at least 1"),
        (["--test_documents", "-5"], "test_documents must be at least 1"),
        (["--save_only_model", "True"], "goes on by itself"),
        (["--resume_from_checkpoint", "nowhere"], "goes on by itself"),
    ],
)
def test_options_that_would_do_nothing_or_harm_are_refused(recipe, options, message):
    with pytest.raises(ValueError, match=message):
        recipe_room.parse_recipe([str(recipe), *options])


def test_epochs_that_never_come_are_named(recipe, caplog):
    recipe_room.parse_recipe([str(recipe)])
    recipe_room.parse_recipe([str(recipe), "--frozen_epochs", "0"])  # a command line empties no list
    recipe_room.parse_recipe([str(recipe), "--num_train_epochs", "4.5"])  # half of the fifth
    assert not caplog.records
    recipe_room.parse_recipe([str(recipe), "--num_train_epochs", "4"])
    assert "frozen_epochs are [1, 5] and num_train_epochs is 4.0: [5] never come." in caplog.text
    assert "lr_milestones are [2.0, 4.0] and num_train_epochs is 4.0: [4.0] never come." in caplog.text


def test_the_word_no_of_yaml_is_a_strategy(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("train_file: x\nsave_strategy: no\neval_strategy: no\nlogging_strategy: no\n")
    _, _, args = recipe_room.parse_recipe([str(path), "--output_dir", str(tmp_path)])
    assert {args.save_strategy.value, args.eval_strategy.value, args.logging_strategy.value} == {"no"}


def test_numbers_in_lists_may_be_written_as_text(recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    fields = yaml.safe_load(recipe.read_text()) | {"frozen_epochs": ["1", 2], "lr_milestones": ["1e0"]}
    path.write_text(yaml.safe_dump(fields))
    _, _, args = recipe_room.parse_recipe([str(path)])
    assert args.frozen_epochs == [1, 2] and args.lr_milestones == [1.0]


def test_files_beside_a_built_dataset_are_said_not_to_be_read(recipe, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        _, data_args, _ = recipe_room.parse_recipe([str(recipe), "--dataset", str(tmp_path), "--documents", "20"])
    assert "not read: train_file, documents" in caplog.text
    assert data_args.train_file == [] and data_args.documents is None, "the log would name them as used"


def test_a_dataset_of_another_making_is_refused(finished, recipe, tmp_path):
    data = ["--dataset", str(finished / "data"), "--output_dir", str(tmp_path)]
    with pytest.raises(ValueError, match="built with segmentation.*32.*the recipe wants.*64"):
        train.main([str(recipe), *data, "--core_tokens", "64"])
    shutil.copytree(finished / "data", tmp_path / "data")
    with pytest.raises(ValueError, match="built with documents None, the recipe wants 20"):
        train.main([str(recipe), "--output_dir", str(tmp_path), "--documents", "20"])


def test_several_files_and_their_normalization_are_a_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("train_file: one.jsonl\nnormalization: [escapes, stop_words]\n")
    model_args, data_args, _ = recipe_room.parse_recipe([str(path), "--output_dir", str(tmp_path)])
    assert (data_args.train_file, model_args.normalization) == (["one.jsonl"], ["escapes", "stop_words"])
    _, data_args, _ = recipe_room.parse_recipe([str(path), "--output_dir", str(tmp_path), "--train_file", "a", "b"])
    assert data_args.train_file == ["a", "b"]
    path.write_text("train_file: [a, b]\nnormalization: [stopwords]\n")
    with pytest.raises(ValueError, match="step 'stopwords' is unknown"):
        recipe_room.parse_recipe([str(path), "--output_dir", str(tmp_path)])


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "recipes").glob("article_*.yaml")])
def test_an_article_recipe_is_the_article(name):
    fields = yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())
    assert (fields["core_tokens"], fields["context_tokens"], fields["label_smoothing_factor"]) == (256, 50, 0.1)
    assert (fields["num_train_epochs"], fields["frozen_epochs"], fields["lr_milestones"]) == (5, [1, 5], [2, 4])
    assert (fields["learning_rate"], fields["lr_gamma"], fields["per_device_train_batch_size"]) == (2e-5, 0.5, 16)
    assert fields["optim"] == "adamw_torch"
    assert fields.get("translate", 0.0) == (0.5 if name == "article_en" else 0.0)
    if name == "article_t5_full":  # the label is a token: there is no head
        assert fields["head"] == "label_token" and "head_widths" not in fields
        return
    assert fields["head_widths"] == [512, 256], "two hidden layers and the output: three"
    assert fields["pooling"] == ("mean" if name == "article_t5_encoder" else "cls"), "T5 has no [CLS]"
    assert fields["backbone"] == {
        "article_minilm": "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        "article_t5_encoder": "google/mt5-base",
        "article_xlmr": "FacebookAI/xlm-roberta-base",
    }.get(name, "microsoft/mdeberta-v3-base")


@pytest.mark.parametrize("name", [path.name for path in (ROOT / "recipes").glob("*.yaml")])
def test_every_recipe_parses(name, tmp_path):
    model_args, _, args = recipe_room.parse_recipe(
        [str(ROOT / "recipes" / name), "--train_file", "x", "--output_dir", str(tmp_path), "--learning_rate", "1e-3"]
    )
    assert args.learning_rate == 1e-3 and model_args.name


def test_a_misspelt_key_is_named_with_the_nearest(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("train_file: x\nlerning_rate: 1.0e-5\n")
    with pytest.raises(ValueError, match="'lerning_rate', which does not exist; did you mean 'learning_rate'"):
        recipe_room.parse_recipe([str(path)])
    path.write_text("- a\n- list\n")
    with pytest.raises(ValueError, match="must be a mapping of fields, not list"):
        recipe_room.parse_recipe([str(path)])
    path.write_text("name: x\n")
    with pytest.raises(ValueError, match="neither was given"):
        recipe_room.parse_recipe([str(path)])


def test_one_word_stands_for_a_list_of_words_and_for_no_list_of_numbers(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"train_file: x\noutput_dir: {tmp_path}\n")
    assert recipe_room.parse_recipe([str(path)])[1].train_file == ["x"]
    path.write_text("train_file: x\nlr_milestones: Z]\n")
    with pytest.raises(ValueError, match="gives lr_milestones the value 'Z]', and it must be list"):
        recipe_room.parse_recipe([str(path)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--store_dtype", "float8"], "'float8'"),
        (["--lr_milestones", "2", "--max_steps", "9"], "exclude max_steps"),
        (["--lr_milestones", "2", "--lr_scheduler_type", "cosine"], "lr_scheduler_type"),
        (["--head_widths", "3", "0"], r"positive widths, got \[3, 0\]"),
        (["--labels", "same", "same"], "two different names"),
    ],
)
def test_impossible_values_are_refused_before_anything_runs(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        recipe_room.parse_recipe(["--train_file", "x", "--output_dir", str(tmp_path), *options])


def test_a_file_too_small_to_choose_on_is_a_sentence(recipe, tmp_path):
    small = write_jsonl(tmp_path / "small.jsonl", make_rows(2))
    with pytest.raises(ValueError, match="no segment in the split"):
        train.main([str(recipe), "--train_file", str(small), "--output_dir", str(tmp_path / "out")])
