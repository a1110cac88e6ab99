"""The stream store on Redis Cluster."""
