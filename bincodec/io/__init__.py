"""Read and write images, with their colours and metadata, and files on the disk."""
