package leveret;

/** What was waited for did not come about; the text says what did. */
public class NotInTime extends AssertionError {
  private static final long serialVersionUID = 1;

  NotInTime(String reason) {
    super(reason);
  }
}
