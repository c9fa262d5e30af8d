"""pytorchexample: the server."""

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from torch.utils.data import DataLoader

from pytorchexample.task import Net, digits, test

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds; the final model is kept in final_model.pt."""
    config = context.run_config
    arrays = ArrayRecord(Net().state_dict())
    strategy = FedAvg(fraction_evaluate=config["fraction-evaluate"])
    result = strategy.start(
        grid=grid,
        initial_arrays=arrays,
        train_config=ConfigRecord({"lr": config["learning-rate"]}),
        num_rounds=config["num-server-rounds"],
        evaluate_fn=global_evaluate,
    )
    torch.save(result.arrays.to_torch_state_dict(), "final_model.pt")


def global_evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Test the model on the server's own digits."""
    model = Net()
    model.load_state_dict(arrays.to_torch_state_dict())
    _, test_set = digits()
    loss, accuracy = test(model, DataLoader(test_set, batch_size=128), "cpu")
    return MetricRecord({"accuracy": accuracy, "loss": loss})
