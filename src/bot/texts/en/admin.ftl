### For admins.

admin-counts = Asked { $admitted }, delivered { $delivered }, failed { $failed }, cancelled { $cancelled }
admin-usage = /stats · /ops · /jobs · /job ID · /retry ID · /cancel ID · /drop ID · /trace ID · /who ID · /ban ID · /lift ID · /tier ID · /limit ID · /journal · /pause · /resume · /switches · /broadcast
admin-blocked = 🚫 Banned: { $user }. Open pictures cancelled: { $number }.
admin-unblocked = ✅ Ban lifted: { $user }.
admin-no-failures = ✅ No failed jobs.
admin-failures = Last failed jobs:
admin-failure = { $job } · { $kind } · user { $user } · { $provider }
admin-trace = 🔎 Job { $job }, { $state }
    { $link }
admin-no-trace = No such job, or it was not traced.
admin-tiers = /tier ID { $tiers }
admin-tier = ✅ { $user }: { $tier }.
admin-no-job = No such job.
admin-not-failed = { $job } is not kept as failed: { $state }.
admin-cancelled = ✖️ { $job } is cancelled; it was { $state }.
admin-not-cancelled = { $job } cannot be cancelled any more: { $state }.
admin-dropped = ✅ { $job } is no longer kept as failed.
admin-again = ✅ { $job } is asked for again.
admin-not-again = { $job } is not admitted: { $verdict }
admin-state = { $state }
admin-kind = { $kind }
admin-verdict = { $verdict }

admin-spent = 💰 { $costs }
admin-spenders = Most of it by: { $people }

owner-spent = { $percent ->
    [100] 🔴 Today’s cap of { $cap } is reached. { $then ->
        [cheaper] What no longer fits goes to the next cheaper model that does, or is refused until midnight UTC.
       *[stop] What no longer fits is refused until midnight UTC.
    }
   *[other] 🟡 { $percent } % of today’s cap of { $cap } is used: { $costs }.
}
owner-quota = 🔴 { $provider }: the balance is spent, it makes no more pictures. Top it up.
owner-limited = 🔴 { $provider }: for a day it has only said “too often”. Its balance may be spent: have a look.
owner-key = 🔴 { $provider } refuses the key. `imagebot doctor` says why.
owner-model = 🔴 { $provider } does not have the model { $model }, or not at the address in the settings. `imagebot doctor` names those it has.
owner-host = 🔴 { $provider } puts its pictures at { $host }, which is not allowed. If that is right, add it to PROVIDER_RESULT_HOSTS.
