"""Images, their colours, and files on the disk."""
