"""Three hints for each exercise, each a step further: where to begin, what it comes to, and how it is written."""

HINTS = {
    "cell": (
        "Three loops: over the rows u, the columns v and the channels c of the kernel. How many products are there?",
        "The cell of x that lies under kernel[u, v, c] is x[i + u, j + v, c]. Add the products, and then the "
        "bias, once.",
        "Without loops: x[i : i + kh, j : j + kw] has the kernel's shape; multiply the two, and sum.",
    ),
    "padding": (
        "Do the sum for one direction first, the rows, on paper: H = 5, kh = 2, stride 1. How many zeros, and where?",
        "Rounded up without floats: -(-H // stride). max(..., 0) keeps the total from falling below 0.",
        "np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))) pads rows and columns, and leaves the other axes.",
    ),
    "im2col": (
        "Six loops, n, i, j, u, v, c, and one line in them: the formula. Slow, and right. Make it quick later.",
        "Fill an array of shape (N, OH, OW, kh, kw, C) first; in this order of axes reshape makes the table of it.",
        "Two loops are enough: columns[:, i, j] = x[:, i*stride : i*stride + kh, j*stride : j*stride + kw].",
    ),
    "product": (
        "Write down the shapes: columns, the kernel as a table, and their product. Each row of it is one place.",
        "kernel.reshape(kh*kw*C, F) has its rows in the order u, v, c, just as the columns of im2col's table are.",
        "z = columns @ kernel.reshape(-1, F) + bias, and then z.reshape(N, OH, OW, F).",
    ),
    "pooling": (
        "For one photo, one channel and one window first: which number is the largest, and where does it stand?",
        "Lay the window's cells in a row, row by row; argmax then gives u*size + v itself, and of ties the first.",
        "x[:, i*stride : i*stride + size, ...] is the window of all photos and channels; reshape it to (N, "
        "size*size, C).",
    ),
    "softmax": (
        "What becomes of p if 1000 is taken from every z of a row? Above and below the line stands exp(-1000), as "
        "a factor.",
        "So take from each row its own largest number: then every exp is between 0 and 1, and one of them is 1.",
        "z.max(axis=1, keepdims=True) has shape (N, 1), and so fits z in a subtraction; the same holds for the sum.",
    ),
    "loss": (
        "For one photo: only the probability of its right class counts. What is its logarithm, and why a minus "
        "before it?",
        "p[n, y[n]] is that probability. A loop over n, a sum, and at the end a division by the number of photos.",
        "Without a loop: p[np.arange(len(y)), y] takes from each row its own class.",
    ),
    "p_minus_y": (
        "Begin with softmax(z). Where the right class stands, something is taken off; elsewhere nothing is.",
        "dz = softmax(z), and then dz[np.arange(len(y)), y] -= 1: in each row at its own class.",
        "The loss is a mean over N photos, so everything is divided by N, once: len(y).",
    ),
    "dense": (
        "Write the shapes down: dkernel (I, O) of x (N, I) and dz (N, O). Which product of two tables has this shape?",
        "The sum over the photos n is hidden in x.T @ dz; the bias was added to every photo, so it gets the sum of dz.",
        "dx (N, I) of dz (N, O) and the kernel (I, O): dz @ kernel.T.",
    ),
    "relu_pool": (
        "z > 0 is an array of True and False, and counts as 1 and 0 in a product.",
        "divmod(winner, size) gives u and v back: the cell of the window that won.",
        "Windows may overlap, so one cell may win twice: `+=`. A loop over n, i, j, c is quite enough.",
    ),
    "kernel_gradient": (
        "For one weight: at each place it was multiplied with one cell of x. Add those cells, each times the dz there.",
        "With im2col it is the same as in dense: columns.T @ dz, where dz is a table with one row a place.",
        "dz.reshape(-1, F), the product, then .reshape(kh, kw, C, F); the bias gets the sum of dz over n, i and j.",
    ),
    "input_gradient": (
        "The way back of forward's line: where x[...] * kernel[...] was added to z, add dz * kernel to dx at the "
        "same place.",
        "Begin with dx = zeros and go through all windows (i, j). Each adds to kh x kw cells; they overlap, so `+=`.",
        "For one window: np.tensordot(dz[:, i, j], kernel, (1, 3)) is the sum over the filters, (N, kh, kw, C).",
    ),
    "optimizers": (
        "SGD is one line. Return a new array: `w -= ...` would change the array that you were given.",
        "Adam line by line as the formula: first m, then v, then w with the new m and the new v.",
        "alpha = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t), and w - alpha * m / (np.sqrt(v) + epsilon).",
    ),
    "network": (
        "Forward: pad, convolve, max(z, 0), pool, twice. Keep what backward asks for: the padded x, z, the winners.",
        "Backward, the same in reverse: dense; back into the shape of the maps; then pooling, ReLU, filters, input.",
        "The gradient of the padded input has a border of one cell too many on each side: dx[:, 1:-1, 1:-1].",
    ),
}
