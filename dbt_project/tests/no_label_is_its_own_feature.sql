-- When a flight is predicted, its own leg must not be known yet; or its plane's newest leg would be the answer.
select labels.flight_id, labels.predicted_at, legs.landed_at
from {{ ref('late_arrival_labels') }} as labels
inner join {{ ref('plane_legs') }} as legs
    on legs.flight_id = labels.flight_id
    and legs.landed_at + interval '1' minute <= labels.predicted_at
