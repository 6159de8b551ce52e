"""Second derivatives from our first ones: products of the Hessian with vectors.

The engine is of first order only. But H v is the slope of the gradient along v, so a difference of
two gradients gives it. H is symmetric: u·(H v) and v·(H u) must agree, or the gradient is the
gradient of nothing.
"""

from collections.abc import Callable

from .backend import Array

# slope(theta) is the gradient at theta: vectors (n,).
Slope = Callable[[Array], Array]


def hessian_vector(slope: Slope, theta: Array, v: Array, h: float = 1e-3) -> Array:
    """The product H v at θ, by a central difference.

    Its error is of order h²‖v‖³, plus rounding divided by h‖v‖. So float64 is better.

    Args:
        slope: a function of θ that returns the gradient.
        theta: where to differentiate, a vector (n,).
        v: the vector (n,) to multiply.
        h: the step of the difference, in units of v.
    """
    return (slope(theta + h * v) - slope(theta - h * v)) / (2 * h)
