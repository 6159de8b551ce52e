"""The update of θ and of its average in one pass over memory: θ ← θ − β∇J, average ← d·average + (1 − d)·θ."""
from autograd import backend

THREADS = 256  # to a block


def descend(theta, grad, average, beta, decay):
    """Both updates, in place: those of `train.train` and of `app.average`, to the last bit. All vectors of one length.

    average  None to leave it out;  decay  d, as `app.average` has it at this step
    """
    theta -= beta * grad
    if average is not None:
        average += (1 - decay) * (theta - average)


def descend_on_gpu(theta, grad, average, beta, decay):
    backend.kernel("descend", SOURCE)((-(-theta.size // THREADS),), (THREADS,), (theta, grad, average, theta.size, float(beta), 1.0 - decay))


SOURCE = r"""
extern "C" __global__ void descend(float* theta, const float* grad, float* average, long long size, double beta, double share) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const float now = theta[i] - (float)beta * grad[i];
    theta[i] = now;
    if (average) average[i] += (float)share * (now - average[i]);
}
"""
