"""The release bundle of a finished study, and its verification by anybody, offline."""
