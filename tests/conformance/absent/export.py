"""Stands for tests/exporters/test_export.py: the two checks of it that need only torch."""

import torch
from transformers.exporters.exporter_dynamo import DynamoConfig, DynamoExporter


class ExportTesterMixin:
    """Exports each model class with `torch.export` and compares with the eager model."""

    def check_export(self, *, dynamic):
        for model_class in self.all_model_classes:
            config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
            model = model_class(config).eval()
            with self.subTest(model_class.__name__), torch.no_grad():
                expected = model(**inputs)
                exported = DynamoExporter().export(
                    model, dict(inputs), config=DynamoConfig(dynamic=dynamic)
                )
                self.assert_same_outputs(exported(**inputs), expected)

    def assert_same_outputs(self, actual, expected):
        self.assertEqual(set(actual), set(expected))
        for name, tensor in expected.items():
            torch.testing.assert_close(
                actual[name], tensor, msg=lambda text, n=name: f"{n}: {text}"
            )

    def test_torch_export(self):
        self.check_export(dynamic=False)

    def test_torch_export_dynamic(self):
        self.check_export(dynamic=True)
