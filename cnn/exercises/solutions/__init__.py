"""Our answers, one file an exercise. What `cnn exercise start` writes is made of them: the head without the body."""
