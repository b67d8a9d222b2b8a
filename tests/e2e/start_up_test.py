"""What msa-server says when it cannot start: an exit status and one line that names what is wrong and what is allowed."""
import json
import shutil
import socket
import struct
import unittest
from pathlib import Path

from server_program import NEEDLE, ServerProgram, TemporaryFolder, failed_start


def copy_of_needle(folder: Path) -> Path:
    model = folder / "model"
    shutil.copytree(NEEDLE, model)
    for path in model.iterdir():
        path.chmod(0o644)
    return model


def change_json(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_safetensors_header(path: Path, change) -> None:
    """Rewrites the header in place: the data keeps its offset, as in a file that lies about its shapes."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    change(header)
    text = json.dumps(header, separators=(",", ":")).encode()
    assert len(text) <= size
    path.write_bytes(data[:8] + text.ljust(size) + data[8 + size:])


class FailedStart(unittest.TestCase):
    def setUp(self):
        folder = TemporaryFolder()
        self.addCleanup(folder.remove)
        self.folder = folder.path

    def expect_refusal(self, *mentions: str, options: tuple[str, ...] = (), model: Path = NEEDLE) -> None:
        status, stderr = failed_start(self.folder, *options, model=model)
        self.assertIn(status, (1, 2), stderr)  # not a signal
        lines = stderr.splitlines()
        self.assertEqual(len(lines), 1, stderr)
        self.assertTrue(lines[0].startswith("msa-server: "), stderr)
        for mention in mentions:
            self.assertIn(mention, lines[0])

    def test_missing_model_is_named(self):
        self.expect_refusal("no-model/config.json", model=self.folder / "no-model")

    def test_truncated_checkpoint_is_named(self):
        model = copy_of_needle(self.folder)
        for size in (0, 7, 100, 1000, 1_000_000):
            shutil.copyfile(NEEDLE / "model.safetensors", model / "model.safetensors")
            with (model / "model.safetensors").open("r+b") as file:
                file.truncate(size)
            self.expect_refusal("model.safetensors", model=model)

    def test_tensor_of_another_shape_is_named_with_both_shapes(self):
        model = copy_of_needle(self.folder)

        def swap(header):
            header["model.layers.0.mlp.up_proj.weight"]["shape"].reverse()
        change_safetensors_header(model / "model.safetensors", swap)
        self.expect_refusal("model.safetensors", "model.layers.0.mlp.up_proj.weight", "512", "256", model=model)

    def test_shape_that_does_not_match_the_bytes_is_named(self):
        model = copy_of_needle(self.folder)

        def shrink(header):
            header["model.layers.0.mlp.up_proj.weight"]["shape"][0] -= 1
        change_safetensors_header(model / "model.safetensors", shrink)
        self.expect_refusal("model.safetensors", "model.layers.0.mlp.up_proj.weight", model=model)

    def test_overlapping_tensors_are_named(self):
        model = copy_of_needle(self.folder)

        def overlap(header):
            header["model.layers.0.mlp.up_proj.weight"]["data_offsets"] = (
                header["model.layers.0.mlp.gate_proj.weight"]["data_offsets"])
        change_safetensors_header(model / "model.safetensors", overlap)
        self.expect_refusal("model.safetensors", "model.layers.0.mlp", model=model)

    def test_missing_tensor_is_named(self):
        model = copy_of_needle(self.folder)
        change_json(model / "config.json", lambda config: config.update(num_hidden_layers=6))
        self.expect_refusal("model.layers.5", model=model)

    def test_unsupported_arithmetic_is_named(self):
        model = copy_of_needle(self.folder)
        change_json(model / "config.json", lambda config: config.update(rope_scaling={"type": "yarn", "factor": 4.0}))
        self.expect_refusal("config.json", "rope_scaling", model=model)

    def test_tokenizer_of_another_kind_is_named(self):
        model = copy_of_needle(self.folder)
        change_json(model / "tokenizer.json", lambda file: file["model"].update(type="WordPiece"))
        self.expect_refusal("tokenizer.json", "WordPiece", "BPE", model=model)

    def test_tokenizer_that_is_no_json_is_named(self):
        model = copy_of_needle(self.folder)
        (model / "tokenizer.json").write_text("{")
        self.expect_refusal("tokenizer.json", model=model)

    def test_port_in_use_is_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.expect_refusal(str(port), "in use", options=("--port", str(port)))
            self.expect_refusal(str(port), "in use", options=("--metrics-port", str(port)))

    def test_data_directory_that_cannot_be_written_is_named(self):
        file = self.folder / "file"
        file.touch()
        self.expect_refusal(str(file), options=("--data-dir", str(file / "data")))
        self.expect_refusal("/proc/msa", options=("--data-dir", "/proc/msa"))

    def test_locked_data_directory_is_named(self):
        with ServerProgram(self.folder) as running:
            log_before = running.log
            other = TemporaryFolder()
            self.addCleanup(other.remove)
            status, stderr = failed_start(other.path, "--data-dir", str(running.data))
            self.assertEqual(status, 1)
            self.assertEqual(len(stderr.splitlines()), 1, stderr)
            self.assertIn(str(running.data), stderr)
            self.assertIn("in use", stderr)
            self.assertTrue(running.is_running())
            with running.client() as client:
                self.assertTrue(client.is_serving())
            self.assertEqual(running.log, log_before)

    def test_device_that_this_build_lacks_is_named(self):
        status, stderr = failed_start(self.folder, "--device", "cuda")
        self.assertIn(status, (1, 2))
        self.assertEqual(len(stderr.splitlines()), 1, stderr)
        self.assertIn("cuda", stderr.lower())

    def test_wrong_options_are_named(self):
        self.expect_refusal("--shardz", "--shards", options=("--shardz", "2"))
        self.expect_refusal("--shards", "0", options=("--shards", "0"))
        self.expect_refusal("--compute-dtype", "int8", options=("--compute-dtype", "int8"))
        self.expect_refusal("loopback", options=("--host", "0.0.0.0"))


if __name__ == "__main__":
    unittest.main()
