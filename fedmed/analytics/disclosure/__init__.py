"""What may be shown of exact counts: small cells stay hidden, and cannot be worked out from the rest."""
