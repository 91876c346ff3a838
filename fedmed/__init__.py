"""FedMed: privacy-preserving federated computation for provincial health-insurance data holders."""

__version__ = "0.1.0"
