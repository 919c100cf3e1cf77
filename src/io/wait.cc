#include "io/wait.h"

namespace hansa::io {

Task<Result<void>> sleep_for(Duration duration) {
  TaskContext& context = co_await current_context();
  if (context.cancelled()) co_return make_error(ErrorCode::cancelled, "cancelled before a sleep");
  Executor& executor = context.executor();
  auto wait = wait_for<Result<void>>([&executor, duration](Completion<Result<void>> completion) -> Work {
    const TimerId timer = executor.start_timer(duration, [completion] { completion.complete(Result<void>{}); });
    return [&executor, timer, completion] {
      executor.cancel_timer(timer);
      completion.complete(make_error(ErrorCode::cancelled, "cancelled during a sleep"));
    };
  });
  co_return co_await wait;
}

Task<void> yield() {
  auto wait = wait_for<bool>([](Completion<bool> completion) -> Work {
    completion.complete(true);
    return nullptr;
  });
  co_await wait;
}

}  // namespace hansa::io
