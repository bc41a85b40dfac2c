"""Progress from what people have already: tqdm, rich, Celery and taskiq. Each file names the one library it is for."""
