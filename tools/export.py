"""Export a student to ONNX, TorchScript or torch.export; see ``--help``."""

from g2sd_mm.cli.export import main

if __name__ == '__main__':
    main()
