"""Audio files in, a training by s3prl's pretraining loop in PyTorch out, its speed on the terminal.

Model, masks and positions are s3prl's own code; its runner, its bucketed data set and its online
features are restated from s3prl 0.4.18, as they need torchaudio, pandas and files of their own. The
restated features leave out the cepstra that s3prl computes and does not use. Started by
`whole_program.py`; prints a JSON object per window of steps.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import soundfile
import torch
from s3prl.pretrain.mockingjay.task import generate_masked_acoustic_model_data
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from benchmarks.s3prl_peer import make_modules
from sat_jax.config import Config
from sat_jax.config import json as config_json
from sat_jax.features.spectral import mel_filters

LEVEL = -25.0
EPSILON = 1e-10


class Utterances(Dataset):
    """s3prl's `OnlineAcousticDataset`: item i is a batch of utterances of similar length."""

    def __init__(self, files: list[Path], config: Config) -> None:
        features, objective = config.features, config.objective
        longest_first = sorted(files, key=lambda file: -soundfile.info(file).frames)
        size = config.batches.size
        self.batches = [longest_first[i : i + size] for i in range(0, len(files), size)]
        self.batches = [batch for batch in self.batches if len(batch) > 1]
        self.most = config.batches.max_frames * features.hop
        self.hop, self.window, self.n_fft = features.hop, features.window, features.n_fft
        self.mel = torch.tensor(mel_filters(features.n_fft, features.mels)).float()
        self.task = {
            "position_encoding_size": config.model.width,
            "mask_proportion": objective.mask_share,
            "mask_consecutive_min": objective.c_num,
            "mask_consecutive_max": objective.c_num,
            "mask_allow_overlap": True,
            "mask_bucket_ratio": 1.2,
            "mask_frequency": 0.0,
            "noise_proportion": 0.0,
        }

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[tuple[torch.Tensor, ...], int]:
        audio = [self.read(file) for file in self.batches[index]]
        padded = pad_sequence(audio, batch_first=True)
        frames = self.features(padded, [len(a) for a in audio])
        examples = generate_masked_acoustic_model_data((frames, frames.clone()), self.task)
        return examples, sum(map(len, audio))

    def read(self, file: Path) -> torch.Tensor:
        """An utterance at s3prl's level, cropped at random where it is too long."""
        audio = torch.from_numpy(soundfile.read(file, dtype="float32")[0])
        audio = audio * (10 ** (LEVEL / 20) / (audio.pow(2).mean().sqrt() + EPSILON))
        first = random.randint(0, max(len(audio) - self.most, 0))
        return audio[first : first + self.most]

    def features(self, audio: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """Log-mel (B, T, F) with zero mean and unit variance per utterance and bin."""
        window = torch.hann_window(self.window)
        spectrum = torch.stft(audio, self.n_fft, self.hop, self.window, window, return_complex=True)
        mel = torch.matmul(spectrum.abs().pow(2).transpose(1, 2), self.mel)
        mel = (mel + EPSILON).log()
        rate = audio.shape[-1] / mel.shape[1]
        rows = [row[: round(length / rate)] for row, length in zip(mel, lengths, strict=True)]
        rows = [(row - row.mean(0)) / (row.std(0) + EPSILON) for row in rows]
        return pad_sequence(rows, batch_first=True)


def train(config: Config, files: list[Path], steps: int, window: int, workers: int) -> None:
    """The loop of s3prl's `Runner.train`: prints what each `window` of steps took."""
    torch.manual_seed(0)
    random.seed(0)
    encoder, head = make_modules(config.model, config.features.mels)
    named = [*encoder.named_parameters(), *head.named_parameters()]
    plain = [p for name, p in named if name.endswith("bias") or "LayerNorm" in name]
    kernels = [p for name, p in named if not (name.endswith("bias") or "LayerNorm" in name)]
    optim = config.optim
    optimizer = torch.optim.AdamW(
        [{"params": kernels}, {"params": plain, "weight_decay": 0.0}],
        lr=optim.peak_lr,
        betas=(optim.beta1, optim.beta2),
        weight_decay=optim.weight_decay,
        fused=True,
    )
    warmup = max(round(optim.warmup_share * steps), 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / warmup, max(steps - n, 0) / max(steps - warmup, 1))
    )
    loader = DataLoader(
        Utterances(files, config),
        batch_size=1,
        shuffle=True,
        num_workers=workers,
        collate_fn=lambda items: items[0],
    )
    done, samples, utterances, began = 0, 0, 0, time.perf_counter()
    while done < steps:
        for (masked, positions, chosen, valid, target), heard in loader:
            if done == steps:
                break
            positions = positions.expand(len(masked), *positions.shape)
            hidden = encoder(masked, positions, valid, output_all_encoded_layers=False)
            predicted = head(hidden)[0]
            loss = torch.nn.functional.l1_loss(
                predicted.masked_select(chosen), target.masked_select(chosen)
            )
            loss.backward()
            value = loss.item()
            torch.nn.utils.clip_grad_norm_(kernels + plain, optim.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            done, samples, utterances = done + 1, samples + heard, utterances + len(masked)
            if done % window == 0:
                seconds = time.perf_counter() - began
                numbers = {
                    "step": done,
                    "loss": value,
                    "steps_per_second": window / seconds,
                    "utterances_per_second": utterances / seconds,
                    "hours_per_hour": samples / 16000 / seconds,
                }
                print(json.dumps(numbers), flush=True)
                samples, utterances, began = 0, 0, time.perf_counter()
    if not np.isfinite(value):
        raise SystemExit(f"the loss is {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="config.json of the run to compare with")
    parser.add_argument("audio", type=Path, help="directory of wav files")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--window", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = config_json.read_config(given.config)
    files = sorted(given.audio.glob("*.wav"))
    train(config, files, given.steps, given.window, given.workers)


if __name__ == "__main__":
    main()
