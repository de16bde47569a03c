"""Two processes that share a batch take the step that one process with the whole batch takes."""

import torch
import torch.multiprocessing as multiprocessing

from spike_depth_core.training import distributed


def _in_group(rank, size, port, results):
    import os

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(size)}
    distributed.start(torch.device("cpu"))
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    with torch.no_grad():
        network[1].running_mean.fill_(float(rank))
    torch.manual_seed(1)
    data = torch.randn(6, 3)[rank::size]
    network.eval()
    (network(data) ** 2).mean().backward()
    distributed.average(network)
    flags = [distributed.any_process(rank == 1), distributed.any_process(False)]
    results.put((rank, network[0].weight.grad.tolist(), network[1].running_mean.tolist(), flags))
    distributed.stop()


def test_averaged_gradients_are_those_of_the_whole_batch(unused_tcp_port):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_in_group, args=(r, 2, unused_tcp_port, results)) for r in range(2)]
    for process in processes:
        process.start()
    found = sorted(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert found[0][1:] == found[1][1:]
    assert found[0][2] == [0.5, 0.5]
    assert found[0][3] == [True, False]

    # by hand: the gradient of the mean over all six samples, each half seen with its own statistics
    weight = torch.zeros(2, 3)
    for rank in range(2):
        network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).eval()
        torch.manual_seed(0)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter)
        with torch.no_grad():
            network[1].running_mean.fill_(float(rank))
        torch.manual_seed(1)
        data = torch.randn(6, 3)[rank::2]
        (network(data) ** 2).mean().backward()
        weight += network[0].weight.grad / 2
    torch.testing.assert_close(torch.tensor(found[0][1]), weight)


def test_alone_nothing_changes():
    assert distributed.place() == (0, 1)
    assert distributed.any_process(True)
    assert not distributed.any_process(False)


def test_processes_wait_for_the_one_that_renders(monkeypatch):
    """It may take days; the default of PyTorch is 30 minutes."""
    waits = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **given: waits.update(given))
    distributed.start(torch.device("cpu"))
    assert waits["timeout"].days >= 2


def test_each_process_takes_the_gpu_of_its_number(monkeypatch):
    """Flags are on the CPU, which NCCL does not carry."""
    done = {}
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: done.update(gpu=number))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, timeout: done.update(backend=backend))
    distributed.start(torch.device("cuda"))
    assert done == {"gpu": 3, "backend": "cpu:gloo,cuda:nccl"}
    done.clear()
    distributed.start(torch.device("cuda:1"))
    assert "gpu" not in done
