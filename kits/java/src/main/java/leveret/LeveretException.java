package leveret;

/** What the broker refused, and with which status. */
public class LeveretException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private final int status;

  LeveretException(int status, String reason) {
    super(reason);
    this.status = status;
  }

  public int status() {
    return status;
  }
}
